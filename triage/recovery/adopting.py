"""Takes over the journal of a gateway that is gone: its folder lies on a shared volume, and nobody holds its lock.

What its gateway had journaled and not yet indexed is indexed, its last segment is closed, and everything of it is archived. The
lock is held meanwhile and given back, so that a gateway of that name can start again.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from triage.archive.background import Archiving
from triage.ids import now_us
from triage.index.ended import Ended
from triage.index.fold import Index
from triage.index.replaying import Replay
from triage.index.reviews import RedisReviews
from triage.journal.reading import START, nodes, seal, segments
from triage.journal.segments import settle
from triage.ports import Position
from triage.recovery.past import ArchivedPast

log = logging.getLogger(__name__)
QUIET_S = 60.0
"""A journal that was written to since then has a gateway that may only be starting again."""


class Adopting:
    """`step` is a background task of a gateway. Methods raise IndexAway, Unavailable, OSError."""

    def __init__(
        self, journal_folder: Path, node: str, log_place: str, index: Index, reviews: RedisReviews, archiving: Archiving,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._folder = journal_folder
        self._node = node
        self._log = log_place
        self._index = index
        self._reviews = reviews
        self._archiving = archiving
        self._clock = clock
        self._done: dict[str, Position] = {}
        """How far the journals of nodes that are gone are indexed and archived."""

    async def step(self) -> None:
        for folder in await asyncio.to_thread(nodes, self._folder):
            if folder.name != self._node and await asyncio.to_thread(self._is_left, folder):
                with locked(folder) as ours:
                    if ours:
                        await self._adopt(folder)

    def _is_left(self, folder: Path) -> bool:
        last = segments(folder)[-1]
        if self._clock() - last.stat().st_mtime < QUIET_S:
            return False
        return seal(last) is None or self._done.get(folder.name, START).segment <= int(last.stem)

    async def _adopt(self, folder: Path) -> None:
        last = segments(folder)[-1]
        await asyncio.to_thread(settle, last)
        since = await self._reviews.checkpoint(folder.name) or START
        end = Position(int(last.stem) + 1, 0)
        if since < end:
            past = ArchivedPast(self._log, self._folder, folder.name)
            replay = Replay(self._index, self._reviews, Ended(), now_us())
            await replay.skim(past.skim(since, end))
            count = await replay.read(past.read(since, end))
            await self._reviews.set_checkpoint(folder.name, end)
            log.warning(
                "took over the journal of a gateway that is gone", extra={"node": folder.name, "records": count}
            )
        await self._archiving.run(folder.name, end)
        self._done[folder.name] = end


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Whether nobody else writes a node's journal; while the block lasts nobody can."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(lock)
