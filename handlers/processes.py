"""A program in its own process group, ended whole: java's children are the workers and must not outlive it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil


class Group:
    """The group led by one started program."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], output: Path | None
    ) -> None:
        """Starts `command` in `folder`; its output goes to the file, or to our own when there is none."""
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(output.open("ab")) if output else None
            self._leader = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT if stream else None,
                start_new_session=True,  # a Ctrl-C in the terminal is ours to handle, not java's
            )

    @property
    def pid(self) -> int:
        """The leader's process id, and the group's."""
        return self._leader.pid

    def exit_code(self) -> int | None:
        """The leader's exit code, None while it runs."""
        return self._leader.poll()

    def members(self) -> list[psutil.Process]:
        """The living processes of the group; one that is dead and not yet reaped is not among them."""
        living = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getpgid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    living.append(process)
        return living

    def end(self, grace_s: float) -> None:
        """Asks the leader to end, waits up to `grace_s` seconds, then kills whatever is left of the group."""
        if self.exit_code() is None:
            self._leader.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._leader.wait(grace_s)
        self.kill()

    def kill(self) -> None:
        """Kills the whole group at once and returns when nobody is left of it."""
        while True:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._leader.poll()
            if not self.members():
                break
            time.sleep(0.02)
        self._leader.wait()
