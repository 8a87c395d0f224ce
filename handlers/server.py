"""TorchServe as an object: configure it, start it, know when it is really ready, end every process of it.

java is started directly and not through the `torchserve` command, which keeps one pid file per machine, daemonises,
and does not pass signals on.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from handlers import archive, probe, properties, runtime
from handlers.errors import ServerError
from handlers.processes import Group
from handlers.properties import Listen
from handlers.serving import Serving
from handlers.sigmoid_handler import REFUSAL
from model_store.bundle import Bundle

_DIED = "Backend worker process died."
_LOGS = ("java.log", "ts_log.log", "model_log.log")
_SOCKET_PATH_LIMIT = 100


class TorchServe:
    """One server of one bundle, in its own temporary folder, on its own ports. Several may live side by side.

    `with TorchServe(bundle, serving) as server:` starts it, waits until it is ready and ends it.
    """

    def __init__(
        self,
        bundle: Bundle,
        serving: Serving | None = None,
        port: int | None = None,
        metrics_port: int | None = None,
        host: str = "127.0.0.1",
        logs: Path | None = None,
        console: bool = False,
        deadline_s: float = 120.0,
    ) -> None:
        """`port` is where predictions are asked for, a free one by default; `deadline_s` bounds the wait of `with`.

        `logs` is a folder that outlives the server; `console` repeats the logs on our own output, for containers.
        """
        self.bundle = bundle
        self.serving = serving or Serving.for_machine()
        ports = runtime.free_ports(5)
        inference, management, metrics, grpc_inference, grpc_management = ports
        self.listen = Listen(
            port or inference, management, metrics_port or metrics, grpc_inference, grpc_management, host
        )
        self._kept_logs, self._console, self._deadline_s = logs, console, deadline_s
        self._folder: Path | None = None
        self._group: Group | None = None

    @property
    def url(self) -> str:
        """Where this bundle's predictions are asked for, on this machine."""
        return f"http://127.0.0.1:{self.listen.inference}{probe.path(self.bundle)}"

    @property
    def pid(self) -> int | None:
        """java's process id while it runs."""
        return self._group.pid if self._group and self._group.exit_code() is None else None

    @property
    def logs(self) -> Path:
        """The folder of model_log.log, ts_log.log and java.log."""
        if self._kept_logs:
            return self._kept_logs
        if not self._folder:
            raise ServerError("the server has not been started and has no logs; call start() first")
        return self._folder / "logs"

    def start(self) -> None:
        """Starts java and returns at once. Raises ServerError when something it needs is not installed."""
        if self._group:
            raise ServerError("the server was started already; call stop() first")
        java, home = runtime.java(), runtime.torchserve_home()
        folder = self._folder = Path(tempfile.mkdtemp(prefix="reader-ts-"))
        if len(str(folder)) > _SOCKET_PATH_LIMIT - len("/.ts.sock.9000"):
            shutil.rmtree(folder)
            raise ServerError(f"{folder} is too long for the workers' sockets; set TMPDIR to a shorter path")
        self.logs.mkdir(parents=True, exist_ok=True)
        for name in _LOGS:  # a crash is looked for in these
            (self.logs / name).unlink(missing_ok=True)
        packed = archive.write(self.bundle, folder / "store", self.serving)
        (folder / "config.properties").write_text(properties.config(self.listen, self.serving, packed))
        (folder / "log4j2.xml").write_text(properties.logging(self.logs, self._console))
        command = [
            java,
            f"-Dmodel_server_home={home}",
            f"-Djava.io.tmpdir={folder}",
            f"-Dlog4j.configurationFile=file://{folder}/log4j2.xml",
            "-cp",
            f"{home}/ts/frontend/*",
            "org.pytorch.serve.ModelServer",
            "--python",
            sys.executable,
            "-f",
            f"{folder}/config.properties",
            "-s",
            str(packed.parent),
            "-ncs",
        ]
        output = None if self._console else self.logs / "java.log"
        atexit.register(self.kill)  # java has a session of its own: an exception that ends us would leave it behind
        self._group = Group(command, folder, runtime.environment(folder, self.logs), output)

    def check(self) -> probe.Readiness:
        """`ready` when every worker is up and every golden image is answered right, `loading` before.

        Raises ServerError, with the end of the logs, when it will not become ready: java ended, a worker crashes
        while it loads, or the answers are wrong.
        """
        self.check_alive()
        if self.ready_workers() >= self.serving.workers:
            return probe.check("127.0.0.1", self.listen.inference, self.bundle, self.serving.response_timeout_s)
        said = self._read("model_log.log")
        if _DIED in said:
            reasons = [line.split(REFUSAL, 1)[1] for line in said.splitlines() if REFUSAL in line]
            finding = reasons[-1] if reasons else "its log says why"
            raise ServerError(f"a TorchServe worker ends while it loads the model: {finding}", self.log_tail())
        return "loading"

    def check_alive(self) -> None:
        """Raises ServerError, with the end of the logs, unless java runs."""
        if self._group is None:
            raise ServerError("the server is not running; call start() first")
        code = self._group.exit_code()
        if code is not None:
            raise ServerError(f"TorchServe ended with code {code}; its log says why", self.log_tail())

    def ready_workers(self) -> int:
        """How many workers TorchServe itself calls ready."""
        return probe.ready_workers(self.listen.management, self.bundle)

    def wait_ready(self, deadline_s: float | None = None, given_up: Callable[[], bool] = lambda: False) -> None:
        """Returns when `check` says ready, or when `given_up` says that nobody waits any more.

        Raises what `check` raises, and ServerError when the deadline passes.
        """
        seconds = self._deadline_s if deadline_s is None else deadline_s
        end = time.monotonic() + seconds
        while not given_up() and self.check() != "ready":
            if time.monotonic() > end:
                finding = f"still loading after {seconds:g} s; allow more time or fewer workers"
                raise ServerError(finding, self.log_tail())
            time.sleep(0.1)

    def stop(self, grace_s: float = 10.0) -> None:
        """Ends every process, gently first, and removes the temporary folder. Stopping twice is fine."""
        if self._group:
            self._group.end(grace_s)
        self._clean()

    def kill(self) -> None:
        """Ends every process at once, as a crash would; `start` then starts it again on the same ports."""
        if self._group:
            self._group.kill()
        self._clean()

    def processor_seconds(self) -> float:
        """Processor time that java and its workers have used so far."""
        times = [process.cpu_times() for process in self._group.members()] if self._group else []
        return float(sum(time.user + time.system for time in times))

    def log_tail(self, lines: int = 25) -> str:
        """The last lines of each log, each under its name; empty logs are left out."""
        tails = {name: self._read(name).splitlines()[-lines:] for name in _LOGS}
        return "\n".join(f"--- {name}\n" + "\n".join(tail) for name, tail in tails.items() if tail)

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _clean(self) -> None:
        atexit.unregister(self.kill)
        self._group = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def _read(self, name: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.logs / name).read_text(errors="replace")
        return ""


if __name__ == "__main__":
    importlib.import_module("handlers.commands").server()  # it imports this module, so it cannot be imported above
