"""A gateway is gone, its journal lies on a volume that others see: its answers and questions are not."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from redis import Redis

from embedded.stack import Valkey
from tests.services import Data
from tests.triage.gateway_parts import QUEUE, Wired, wired
from triage.archive.archiver import Archiver
from triage.archive.background import Archiving
from triage.errors import SettingsError
from triage.journal.reading import seal, segments
from triage.journal.segments import SegmentJournal
from triage.recovery.adopting import QUIET_S, Adopting, locked
from triage.store.places import open_objects


def adopting(gateway: Wired, later_s: float) -> Adopting:
    folder, log = gateway.journal.folder.parent, str(gateway.data.folder / "log")
    node = gateway.journal.folder.name
    archiving = Archiving(folder, log, node, 0.0, lambda: None, gateway.metrics)
    newest = max(path.stat().st_mtime for path in folder.rglob("*.seg"))
    return Adopting(folder, node, log, gateway.index, gateway.reviews, archiving, lambda: newest + later_s)


async def left_behind(data: Data, gateway: Wired, torn: bytes = b"") -> str:
    """A gateway `lost` journals an image that nobody indexes, and dies while it writes another."""
    await gateway.predict("blue", 1)
    (record,) = gateway.predictions()
    lost = SegmentJournal(data.folder / "journal", "lost", 2**20, lambda seconds: None)
    lost.start()
    await lost.append(msgspec.structs.replace(record, id="of-the-lost"))
    await asyncio.to_thread(lost.close)
    (path,) = segments(data.folder / "journal" / "lost")
    content = await asyncio.to_thread(path.read_bytes)
    await asyncio.to_thread(path.write_bytes, content[:-60] + torn)
    return "of-the-lost"


@pytest.mark.parametrize("torn", [b"", b"half a frame"])
async def test_a_journal_that_nobody_writes_is_indexed_closed_and_archived(
    data: Data, gateway: Wired, redis: Redis, torn: bytes
) -> None:
    lost = await left_behind(data, gateway, torn)
    adopter = adopting(gateway, QUIET_S + 1)
    await adopter.step()
    leases = await gateway.desk.lease(QUEUE, "ada", 9, None)
    assert {lease.item.id for lease in leases} == {lost, gateway.predictions()[0].id}
    folder = data.folder / "journal"
    (path,) = segments(folder / "lost")
    assert seal(path) is not None
    assert Archiver(open_objects(data.folder / "log"), folder).is_archived(path)
    before = redis.dbsize()
    await adopter.step()
    assert redis.dbsize() == before


async def test_a_gateway_that_lives_or_just_died_is_left_alone(data: Data, gateway: Wired, redis: Redis) -> None:
    await left_behind(data, gateway)
    await adopting(gateway, QUIET_S - 1).step()
    assert seal(segments(data.folder / "journal" / "lost")[-1]) is None
    back = SegmentJournal(data.folder / "journal", "lost", 2**20, lambda seconds: None)
    back.start()
    try:
        await adopting(gateway, QUIET_S + 1).step()
        assert len(await gateway.desk.lease(QUEUE, "ada", 9, None)) == 1
    finally:
        await asyncio.to_thread(back.close)


async def test_a_gateway_of_that_name_can_start_again(data: Data, gateway: Wired, valkey: Valkey, redis: Redis) -> None:
    lost = await left_behind(data, gateway)
    await adopting(gateway, QUIET_S + 1).step()
    async with wired(data, valkey.url, "lost") as back:
        assert not back.recorder.behind
        assert back.journal.end.segment == 2
        await back.predict("blue", 5)
    assert (await gateway.reviews.stats(QUEUE)).waiting == 3
    assert await gateway.reviews.item_state(QUEUE, lost) == "waiting"


async def test_while_it_is_taken_over_nobody_can_write_it(data: Data, gateway: Wired) -> None:
    await left_behind(data, gateway)
    with locked(data.folder / "journal" / "lost") as ours:
        assert ours
        with pytest.raises(SettingsError, match="another gateway writes this journal"):
            SegmentJournal(data.folder / "journal", "lost", 2**20, lambda seconds: None).start()
        with locked(data.folder / "journal" / "lost") as again:
            assert not again
