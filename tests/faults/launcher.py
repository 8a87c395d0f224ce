"""A gateway with one thing wrong with it: it dies at a named call, or a call of the system fails, or its clock is off.

    FAULT='{"die": "triage.journal.segments:SegmentJournal._commit", "when": "before", "armed": "/tmp/now"}' python -m ...

Everything else is the gateway as it ships. What is wrong lies here and not in the gateway, where a switch for it would be one
more thing that can be wrong.

    die   kills the process at the first call of a function after the file `armed` is there, before the call or after it; with
          `about` = amendment, the first that is about one
    fail  every call raises OSError with this errno, while the file `while` is there
    clock the wall clock runs ahead by the seconds that the file says, when it is there
"""

from __future__ import annotations

import errno
import functools
import importlib
import inspect
import json
import os
import signal
import time
from pathlib import Path
from typing import Any


def main() -> None:
    fault: dict[str, Any] = json.loads(os.environ.get("FAULT", "{}"))
    if "die" in fault:
        how = {"when": fault["when"], "armed": Path(fault["armed"]), "about": fault.get("about", "")}
        _wrap(fault["die"], functools.partial(_dying, **how))
    if "fail" in fault:
        _wrap(fault["fail"], functools.partial(_failing, code=getattr(errno, fault["errno"]), at=Path(fault["while"])))
    if "clock" in fault:
        _shift_clock(Path(fault["clock"]))
    from triage.commands.serve import serve

    serve(args=[])


def _wrap(place: str, make: Any) -> None:
    owner, name = find(place)
    setattr(owner, name, make(getattr(owner, name)))


def find(place: str) -> tuple[Any, str]:
    """What holds a function, and its name there. Raises AttributeError, ImportError where there is none of that name."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    getattr(owner, name)
    return owner, name


def _dying(function: Any, when: str, armed: Path, about: str) -> Any:
    def here(given: tuple[Any, ...]) -> bool:
        if not armed.exists():
            return False
        return about != "amendment" or any(getattr(each, "amends", "") for each in given)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapped_async(*given: Any, **named: Any) -> Any:
            last = here(given)
            if last and when == "before":
                die()
            result = await function(*given, **named)
            if last:
                die()
            return result

        return wrapped_async

    @functools.wraps(function)
    def wrapped(*given: Any, **named: Any) -> Any:
        last = here(given)
        if last and when == "before":
            die()
        result = function(*given, **named)
        if last:
            die()
        return result

    return wrapped


def _failing(function: Any, code: int, at: Path) -> Any:
    @functools.wraps(function)
    def wrapped(*given: Any, **named: Any) -> Any:
        if at.exists():
            raise OSError(code, os.strerror(code))
        return function(*given, **named)

    return wrapped


def _shift_clock(at: Path) -> None:
    """Only the wall clock: the monotonic one does not jump."""
    seconds, nanoseconds, ahead = time.time, time.time_ns, _Ahead(at)
    time.time = lambda: seconds() + ahead()
    time.time_ns = lambda: nanoseconds() + int(1e9 * ahead())


class _Ahead:
    def __init__(self, at: Path) -> None:
        self._at, self._looked, self._seconds = at, 0.0, 0.0

    def __call__(self) -> float:
        now = time.monotonic()
        if now - self._looked > 0.1:
            self._looked = now
            self._seconds = float(self._at.read_text()) if self._at.exists() else 0.0
        return self._seconds


if __name__ == "__main__":
    main()
