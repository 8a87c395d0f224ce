"""A child process with a log file: started, awaited by deadline, stopped for certain."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class StartError(Exception):
    """A part did not start; the message holds the end of its log and what to do."""


def _without_settings() -> dict[str, str]:
    """Our environment less the gateway's settings: a part of the stack obeys who started it, not the shell before."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TRIAGE_")}


class Process:
    """One part of the stack in its own process group, so that Ctrl-C reaches it only through `stop`."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = log
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                env={**_without_settings(), **(environment or {})}, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Raises StartError when the process ends or the deadline passes first."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise StartError(f"{self.name} ended with {self._process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                said = self.tail()
                self.kill()
                raise StartError(f"{self.name} was not ready after {seconds:.0f} s; the end of {self.log}:\n{said}")
            time.sleep(0.05)

    def tail(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, grace_s: float = 20) -> None:
        """SIGTERM, then SIGKILL to the whole group after the grace."""
        if self.running:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        self.kill()

    def signal(self, number: signal.Signals) -> None:
        """To the process itself."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
