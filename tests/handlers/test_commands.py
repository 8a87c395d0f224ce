"""The server as a container runs it: a process that is probed, told to end, or fails with one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from handlers.runtime import free_ports
from model_store.bundle import Bundle
from tests.bundles import picture
from tests.handlers.calling import post

pytestmark = pytest.mark.e2e
START_S = 90


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "handlers.server", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def container(
    torchserve: None, colours: Bundle, port: int, tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The server's process and the file of its output."""
    output = tmp_path / "output"
    (metrics,) = free_ports(1)
    command = [sys.executable, "-m", "handlers.server", "--port", str(port), "--metrics-port", str(metrics)]
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--workers", "1", "--drain", "0.5"],
            env={**os.environ, "SECONDREADER_BUNDLE": str(colours.folder)},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    yield process, output
    process.terminate()
    try:
        process.wait(START_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def await_ready(process: subprocess.Popen[bytes], output: Path) -> None:
    end = time.monotonic() + START_S
    while "ready: colours 1 on cpu" not in output.read_text():
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < end, output.read_text()
        time.sleep(0.05)


def test_is_probed_and_ends_whole_when_told_to(
    container: tuple[subprocess.Popen[bytes], Path], colours: Bundle, port: int
) -> None:
    process, output = container
    await_ready(process, output)
    probed = run("probe", "--port", str(port), SECONDREADER_BUNDLE=str(colours.folder))
    assert (probed.returncode, probed.stdout) == (0, "ready\n"), probed.stderr
    assert post(f"http://127.0.0.1:{port}/predictions/colours/1", picture("red")).status == 200
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(START_S) == 0, output.read_text()
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert "Traceback" not in output.read_text()


def test_ends_with_code_1_when_its_java_dies(container: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, output = container
    await_ready(process, output)
    (java,) = psutil.Process(process.pid).children()
    java.kill()
    assert process.wait(START_S) == 1
    assert "Error: TorchServe ended with code -9; its log says why" in output.read_text()


def test_the_probe_fails_where_nothing_listens(colours: Bundle, port: int) -> None:
    probed = run("probe", "--port", str(port), "--bundle", str(colours.folder))
    assert probed.returncode == 1
    assert probed.stderr == f"Error: nothing answers at 127.0.0.1:{port} yet; wait, or read the server's log\n"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 2, "name the bundle's folder with --bundle or SECONDREADER_BUNDLE"),
        (["--bundle", "/nowhere"], 1, "/nowhere/manifest.json: No such file or directory; name the folder of a bundle"),
        (["--bundle", "/nowhere", "--threads", "0"], 1, "threads = 0: input should be greater than or equal to 1"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], code: int, sentence: str) -> None:
    ended = run(*arguments)
    assert (ended.returncode, sentence in ended.stderr) == (code, True), ended.stderr
    assert "Traceback" not in ended.stderr
