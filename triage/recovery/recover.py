"""Makes the index again from every journal in the journal folder and from the archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from model_store.record import Record
from triage.archive.archiver import Archiver
from triage.archive.history import History, Part
from triage.control.catalog import Catalog
from triage.errors import Conflict, NotFound
from triage.ids import now_us
from triage.index.ended import Ended
from triage.index.fold import Index
from triage.index.replaying import Replay
from triage.index.reviews import RedisReviews
from triage.journal.reading import START, Damage, nodes, segments, to_the_log
from triage.journal.segments import settle
from triage.ports import Position
from triage.recovery.adopting import locked
from triage.recovery.shares import processes, read_shared
from triage.settings import Settings
from triage.store.places import open_objects


async def recover(
    settings: Settings, journal: Path | None = None, told: Callable[[Damage], None] = to_the_log,
    seen: Callable[[], None] = lambda: None,
) -> dict[str, int]:  # fmt: skip
    """Records read, items waiting and leased afterwards. `journal` is a folder of journals that is looked at besides the
    settings' own, as of a machine that is gone. Raises IndexAway, Unavailable. Safe beside running gateways."""
    log = open_objects(settings.log_place)
    histories = [History(log, folder, told) for folder in ([journal] if journal else []) + [settings.journal_folder]]
    parts = [(histories[0], part) for part in histories[0].parts()]
    for history in histories[1:]:
        there = {part.name for _, part in parts}
        parts += [(history, part) for part in history.parts() if part.name not in there]
    if not parts:
        raise NotFound(
            f"{settings.journal_folder} holds no journal and {settings.log_place} no log; "
            "name the gateways' data folder with --data"
        )
    reviews = RedisReviews(settings.redis_url, settings.redis_timeout_s)
    try:
        index = Index(reviews, Catalog(settings.data), settings.suggestions, settings.retention_s)
        ended, now, ends = Ended(), now_us(), dict[str, Position]()
        replay = Replay(index, reviews, ended, now)
        # What is written from here on the first reading may miss, and the second one ends no item: its gateway does.
        skimmed = _sizes(parts)
        await replay.skim(record for history, part in parts for _, record in history.skim(part))
        if (count := processes(parts)) > 1:
            total, ends = await read_shared(settings, parts, replay, ended, now, count, told, seen, skimmed)
        else:
            total = await replay.read(_read(parts, ends, seen, skimmed))
        for node, end in ends.items():
            await _advance(reviews, node, end)
        stats = [await reviews.stats(queue) for queue in await reviews.queues()]
    finally:
        await reviews.close()
    return {
        "journals": len({part.node for _, part in parts if part.node}), "records": total,
        "waiting": sum(each.waiting for each in stats), "leased": sum(each.leased for each in stats),
    }  # fmt: skip


def _read(
    parts: list[tuple[History, Part]], ends: dict[str, Position], seen: Callable[[], None], skimmed: dict[str, Position]
) -> Iterator[Record]:
    """Every record; `ends` becomes where each node's last one begins that was `skimmed`."""
    for history, part in parts:
        for position, record in history.read(part, without=("embedding",)):
            if part.path is not None and position < skimmed[part.node]:
                ends[part.node] = position
            seen()
            yield record


def _sizes(parts: list[tuple[History, Part]]) -> dict[str, Position]:
    """How far each node has written its last segment that lies here."""
    ends: dict[str, Position] = {}
    for _, part in parts:
        if part.path is not None:
            try:
                size = part.path.stat().st_size
            except FileNotFoundError:  # archived and removed since we looked, and so none that is written
                size = 0
            ends[part.node] = max(Position(part.number, size), ends.get(part.node, START))
    return ends


async def _advance(reviews: RedisReviews, node: str, end: Position) -> None:
    """What is read is indexed: the node's gateway, or whoever takes its journal over, begins there."""
    stands = await reviews.checkpoint(node)
    if stands is None or stands < end:
        await reviews.set_checkpoint(node, end)


def archive_left(settings: Settings, journal: Path) -> int:
    """Closes and archives the journals in a folder that nobody writes any more; how many segments that were.

    Raises Conflict for one that a gateway writes, Unavailable.
    """
    archiver, count = Archiver(open_objects(settings.log_place), journal), 0
    for folder in nodes(journal):
        with locked(folder) as ours:
            if not ours:
                raise Conflict(f"{folder} is being written by a gateway; stop it, or leave --journal out")
            settle(segments(folder)[-1])
            count += archiver.turn(folder.name).segments
    return count
