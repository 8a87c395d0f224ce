"""The gateway's part of archiving: sees what is closed, and has a process of its own bring it to the log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from triage.archive.archiver import Archiver
from triage.errors import Unavailable
from triage.journal.reading import closed, segments
from triage.metrics import Metrics
from triage.ports import Position
from triage.store.places import open_objects

log = logging.getLogger(__name__)
_TIDY_S = 600.0
"""How often is looked for segments that may go from this disk."""
_LONGEST_WAIT_S = 300.0


class Archiving:
    """`step` is its background task. `indexed` tells before which position of this node everything is in the index."""

    def __init__(
        self, journal_folder: Path, log: str, node: str, keep_s: float, indexed: Callable[[], Position | None],
        metrics: Metrics, clock: Callable[[], float] = time.monotonic, house: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """`house`: where images, documents and the index are, for purges and retention; None: somebody else sees to them."""
        self._asked = {"journal": str(journal_folder), "log": log, "keep_s": keep_s}
        self._folder = journal_folder / node
        self._looking = Archiver(open_objects(log), journal_folder)
        self._indexed = indexed
        self._house = house
        self._metrics = metrics
        self._clock = clock
        self._tidied = clock()
        self._wait_s = 0.0
        self._not_before = float("-inf")

    async def step(self) -> None:
        """One turn: archives what is closed, and now and then removes what may go. Raises Unavailable."""
        waiting, size = await asyncio.to_thread(self._look)
        self._metrics.unarchived.set(size)
        tidy = self._clock() - self._tidied > _TIDY_S
        if self._clock() < self._not_before or not (waiting or tidy):
            return
        try:
            told = await self.run(self._folder.name, self._indexed(), self._house if tidy else None)
        except Unavailable:
            self._wait_s = min(_LONGEST_WAIT_S, max(10.0, 2 * self._wait_s))
            self._not_before = self._clock() + self._wait_s
            raise
        self._wait_s, self._tidied = 0.0, self._clock()
        self._looking.forget(self._folder.name)
        self._metrics.unarchived.set(told["unarchived_bytes"])

    def _look(self) -> tuple[int, int]:
        """Closed segments that are not archived, and the bytes of everything that is not."""
        waiting = size = 0
        for path in segments(self._folder):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                if not self._looking.is_archived(path):
                    size += path.stat().st_size
                    waiting += closed(path)
        return waiting, size

    async def run(self, node: str, indexed: Position | None, house: dict[str, Any] | None = None) -> dict[str, Any]:
        """One turn of the archiver for a node, in its own process; what it did. Raises Unavailable."""
        asked = json.dumps({**self._asked, "node": node, "indexed": list(indexed) if indexed else None, "house": house})
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "triage.archive",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            said, wrong = await child.communicate(asked.encode())
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
            raise
        if child.returncode == 0:
            told: dict[str, Any] = json.loads(said)
            return told
        try:
            why = json.loads(said)["failed"]
        except ValueError:
            why = wrong.decode(errors="replace").strip()[-300:] or f"it ended with {child.returncode}"
        raise Unavailable(f"the journal cannot be archived: {why}")


def newest_archived(place: str, node: str) -> int:
    """Number of the newest segment of a node that is in a log, 0 when there is none or the log is away. A gateway that lost its
    disk numbers on from there; where nobody can look, the archiver refuses what has the number of another."""
    try:
        return Archiver(open_objects(place), Path()).highest(node)
    except Unavailable as error:
        log.warning("the log is away at the start", extra={"why": str(error)})
        return 0
