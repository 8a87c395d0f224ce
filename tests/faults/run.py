"""One fault on a world under load, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.fault import Fault
from tests.faults.judge import Judgement, judge
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.settled import settle
from tests.faults.world import World, world

WHO = ("caller", "reviewer")


@dataclass(frozen=True)
class Size:
    """How hard the world is worked, and for how long. `after_s` is the least, and three times it the most: it ends when things
    are normal again."""

    callers: int = 64
    reviewers: int = 16
    think_s: float = 1.0
    before_s: float = 4.0
    fault_s: float = 5.0
    after_s: float = 4.0


QUICK = Size(callers=8, reviewers=4, think_s=0.25, before_s=2.0, fault_s=2.0, after_s=2.0)


@dataclass(frozen=True)
class Outcome:
    fault: str
    judgement: Judgement
    callers_saw: dict[str, int]
    reviewers_saw: dict[str, int]
    served_meanwhile: dict[str, float]
    """Share of the rate before the fault at which callers, and reviewers, were served while it lasted."""
    slowest_s: dict[str, float]
    """From a first try to its acknowledgement."""
    normal_after_s: dict[str, float | None]
    """Seconds from the mend until callers, and reviewers, are served as before."""

    def row(self) -> dict[str, Any]:
        return {
            "fault": self.fault, "lost": len(self.judgement.lost), "doubled": len(self.judgement.doubled),
            "predictions": self.judgement.predictions, "verdicts": self.judgement.verdicts,
            "amendments": self.judgement.amendments, "served_meanwhile": self.served_meanwhile,
            "slowest_s": self.slowest_s, "normal_after_s": self.normal_after_s,
            "callers_saw": self.callers_saw, "reviewers_saw": self.reviewers_saw,
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
    """Raises AssertionError when a caller or reviewer was answered with what no client expects, or the world does not come to
    rest."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "faults").mkdir()
        places = {"faults": str(folder / "faults"), "small": str(folder / "small")}
        if "{small}" in fault.settings.values():
            stack.enter_context(small_disk(folder / "small"))
        launched = {number: _filled(what, places) for number, what in fault.launched.items()}
        with world(folder, launched, fault.models, **_filled(fault.settings, places)) as made:
            return asyncio.run(_under_load(fault, made, size))


def _filled(texts: Mapping[str, str], places: Mapping[str, str]) -> dict[str, str]:
    return {name: text.format_map(places) for name, text in texts.items()}


async def _under_load(fault: Fault, made: World, size: Size) -> Outcome:
    ledger = Ledger()
    async with Load(made.urls, ledger, size.callers, size.reviewers, size.think_s) as load:
        await asyncio.sleep(size.before_s)
        began = ledger.now()
        before = {who: ledger.rate(began / 2, began, who) for who in WHO}
        await fault.act(made, size.fault_s)
        healed = ledger.now()

        def normal() -> dict[str, float | None]:
            return {who: ledger.normal_after(healed, before[who], who) for who in WHO}

        await asyncio.sleep(size.after_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * size.after_s):
                while None in normal().values():  # noqa: ASYNC110  # who is served tells nobody
                    await asyncio.sleep(0.5)
        assert not load.failed(), load.failed()
        await load.finish()
        await asyncio.to_thread(settle, made)
        found = await asyncio.to_thread(judge, made, ledger)
        assert not load.failed(), load.failed()
    during = {who: ledger.rate(began, healed, who) / max(before[who], 1e-9) for who in WHO}
    return Outcome(
        fault.name, found, dict(sorted(ledger.callers_saw.items())), dict(sorted(ledger.reviewers_saw.items())),
        {f"{who}s": round(min(during[who], 1.0), 2) for who in WHO},
        {f"{who}s": round(ledger.slowest.get(who, 0.0), 1) for who in WHO},
        {f"{who}s": after for who, after in normal().items()},
    )  # fmt: skip
