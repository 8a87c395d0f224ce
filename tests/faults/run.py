"""One fault on a world under load, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.faults import Fault
from tests.faults.judge import Judgement, judge
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.world import World, world


@dataclass(frozen=True)
class Size:
    """How hard the world is worked, and for how long."""

    callers: int = 64
    reviewers: int = 16
    think_s: float = 1.0
    before_s: float = 5.0
    fault_s: float = 6.0
    after_s: float = 10.0


@dataclass(frozen=True)
class Outcome:
    fault: str
    judgement: Judgement
    callers_saw: dict[str, int]
    reviewers_saw: dict[str, int]
    normal_after_s: dict[str, float | None]
    """Seconds from the mend until callers, and reviewers, are served as before."""

    def row(self) -> dict[str, Any]:
        return {
            "fault": self.fault, "predictions": self.judgement.predictions, "verdicts": self.judgement.verdicts,
            "callers_saw": self.callers_saw, "reviewers_saw": self.reviewers_saw, "lost": len(self.judgement.lost),
            "doubled": len(self.judgement.doubled), "normal_after_s": self.normal_after_s,
        }  # fmt: skip


@contextmanager
def small_disk(folder: Path, megabytes: int = 16) -> Iterator[Path]:
    """A disk of its own that is soon full. Raises PermissionError where nobody may mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        raise PermissionError(mounted.stderr.decode())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def run(fault: Fault, size: Size = Size()) -> Outcome:
    """Raises AssertionError when a caller or reviewer was answered with what no client expects."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        places = {"faults": str(folder / "faults")}
        (folder / "faults").mkdir()
        if "{small}" in fault.settings.values():
            places["small"] = str(stack.enter_context(small_disk(folder / "small")))
        launched = json.loads(
            _filled(json.dumps({str(key): dict(value) for key, value in fault.launched.items()}), places)
        )
        settings = {key: _filled(value, places) for key, value in fault.settings.items()}
        with world(folder, {int(key): value for key, value in launched.items()}, **settings) as made:
            made.environment["FAULT_FOLDER"] = places["faults"]
            return asyncio.run(_under_load(fault, made, size))


def _filled(text: str, places: dict[str, str]) -> str:
    for name, place in places.items():
        text = text.replace("{" + name + "}", place)
    return text


async def _under_load(fault: Fault, made: World, size: Size) -> Outcome:
    ledger = Ledger()
    async with Load(made.urls, ledger, size.callers, size.reviewers, size.think_s) as load:
        await asyncio.sleep(size.before_s)
        began = ledger.now()
        await fault.act(made, size.fault_s)
        healed = ledger.now()
        await asyncio.sleep(size.after_s)
        await load.finish()
        assert not load.failed(), load.failed()
    before = {who: ledger.rate(1.0, began, who) for who in ("caller", "reviewer")}
    found = await asyncio.to_thread(judge, made, ledger)
    return Outcome(
        fault.name, found, dict(sorted(ledger.callers_saw.items())), dict(sorted(ledger.reviewers_saw.items())),
        {f"{who}s": ledger.normal_after(healed, before[who], who) for who in before},
    )  # fmt: skip
