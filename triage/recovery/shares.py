"""The second reading of a recovery, shared among processes: a million predictions in words are more than one core's work."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from model_store.record import Record
from triage.archive.history import History, Part
from triage.control.catalog import Catalog
from triage.index.ended import Ended
from triage.index.fold import Index
from triage.index.replaying import Editions, Replay
from triage.index.reviews import RedisReviews
from triage.journal.reading import START, Damage, Told
from triage.ports import Position
from triage.settings import Settings
from triage.store.places import open_objects

ALONE_BYTES = 128 * 2**20
"""Of journals that one process reads faster than a second one is started."""
MOST = 2
"""Processes; each holds about 200 MB."""


@dataclass(frozen=True)
class Share:
    """One part, and all that another process needs to know to read it."""

    settings: Settings
    folder: Path
    part: Part
    ended: Path
    amended: dict[str, Editions]
    now: int
    skimmed: Position
    """Of the part's node; what was written later the first reading may have missed."""


@dataclass(frozen=True)
class Read:
    records: int
    end: Position | None
    """Where the last record of a segment that lies here begins that was skimmed."""
    damage: tuple[Damage, ...]


def processes(parts: list[tuple[History, Part]]) -> int:
    """How many are worth it."""
    size = sum(part.path.stat().st_size for _, part in parts if part.path is not None)
    archived = sum(len(part.files) for _, part in parts)
    return min(MOST, os.cpu_count() or 1, len(parts)) if size > ALONE_BYTES or archived > 100 else 1


async def read_shared(
    settings: Settings, parts: list[tuple[History, Part]], replay: Replay, ended: Ended, now: int, count: int,
    told: Told, seen: Callable[[], None], skimmed: dict[str, Position],
) -> tuple[int, dict[str, Position]]:  # fmt: skip
    """Records, and where each node's last one begins."""
    total, ends = 0, dict[str, Position]()
    with tempfile.TemporaryDirectory(prefix="secondreader-") as scratch:
        path = Path(scratch) / "ended"
        ended.save(path)
        shares = [
            Share(settings, history.folder, part, path, replay.amended, now, skimmed.get(part.node, START))
            for history, part in parts
        ]
        pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))
        try:
            under_way = {pool.submit(read_share, share): share.part for share in shares}

            def finished() -> Iterator[tuple[Part, Read]]:
                for future in as_completed(under_way):
                    yield under_way[future], future.result()

            each = finished()
            while (found := await asyncio.to_thread(next, each, None)) is not None:
                part, read = found
                total += read.records
                if read.end is not None:
                    ends[part.node] = max(read.end, ends.get(part.node, read.end))
                for damage in read.damage:
                    told(damage)
                for _ in range(read.records):
                    seen()
        finally:
            pool.shutdown(cancel_futures=True)
    return total, ends


def read_share(share: Share) -> Read:
    """In a process of its own."""
    return asyncio.run(_read_share(share))


async def _read_share(share: Share) -> Read:
    settings, damage, last = share.settings, list[Damage](), list[Position]()
    reviews = RedisReviews(settings.redis_url, settings.redis_timeout_s)
    try:
        index = Index(reviews, Catalog(settings.data), settings.suggestions, settings.retention_s)
        replay = Replay(index, reviews, Ended.load(share.ended), share.now, share.amended)
        history = History(open_objects(settings.log_place), share.folder, damage.append)

        def records() -> Iterator[Record]:
            for position, record in history.read(share.part, without=("embedding",)):
                if position < share.skimmed:
                    last[:] = [position]
                yield record

        count = await replay.read(records())
    finally:
        await reviews.close()
    return Read(count, last[0] if last and share.part.path is not None else None, tuple(damage))
