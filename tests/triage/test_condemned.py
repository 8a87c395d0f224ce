"""A purged image is gone for good only when nobody can have been promised it, not even by a machine out of sight."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

import secondreader
from embedded.stack import Valkey
from model_store.record import PredictionRecord
from tests.triage.failing_objects import Died, Dying, content
from tests.triage.gateway_parts import Wired
from tests.triage.object_store import S3
from tests.triage.test_journal import write
from tests.triage.test_purge import DAY_US, House, about, predictions
from triage.archive import tombstones
from triage.archive.archiver import Archiver
from triage.archive.background import Archiving
from triage.archive.backup import save
from triage.archive.condemned import FOLDER, SETTLED_S, Condemned, Settled, waiting
from triage.archive.housekeeping import keep_house, opened
from triage.archive.purge import Purged
from triage.archive.tombstones import Tombstone
from triage.control.hold_document import HoldDocument
from triage.control.kinds import NAME
from triage.ids import now_us
from triage.metrics import Metrics
from triage.settings import Settings
from triage.store.blobs import LocalBlobs
from triage.store.documents import LocalDocuments
from triage.store.opening import open_blobs
from triage.store.places import open_objects

SOON_S = 600.0


def image_of(record: PredictionRecord) -> str:
    return f"{record.project}/{record.site}/{record.sha256}"


class Elsewhere:
    """Another machine, whose journal is not seen from here until it is archived."""

    def __init__(self, house: House, folder: Path, record: PredictionRecord) -> None:
        self.record = msgspec.structs.replace(record, id="sent again", received_at=now_us())
        self._log = house.log
        self._folder = folder

    async def archive(self) -> None:
        await asyncio.to_thread(write, self._folder, self.record)
        (self._folder / "n").rename(self._folder / "elsewhere")
        await asyncio.to_thread(Archiver(self._log, self._folder).turn)


@pytest.fixture
async def house(gateway: Wired, tmp_path: Path) -> House:
    """Two images of which all is said, and whose journal is closed."""
    for salt in (1, 2):
        await gateway.predict("blue", salt)
    made = House(gateway, tmp_path / "house")
    await asyncio.to_thread(
        write, made.journal, *(each for one in gateway.predictions() for each in (one, *about(one)))
    )
    return made


@pytest.fixture
def gone(house: House) -> PredictionRecord:
    return predictions(house)[0]


@pytest.fixture
def pixels(house: House, gone: PredictionRecord) -> bytes:
    """The image's bytes."""
    return house.blobs.get(image_of(gone))


@pytest.fixture
def elsewhere(house: House, gone: PredictionRecord, tmp_path: Path) -> Elsewhere:
    return Elsewhere(house, tmp_path / "elsewhere", gone)


@pytest.fixture
def retention(tmp_path: Path) -> LocalDocuments:
    """The site keeps images for a day."""
    documents = LocalDocuments(tmp_path / "control")
    documents.swap("projects/default/retention/default.json", b'{"images_days": 1}', None)
    return documents


async def turn(house: House, told: Tombstone, after: float = SOON_S, serving: bool = True) -> Purged:
    house.now += after
    return await house.purging(serving).carry_out(told)


async def test_an_image_that_another_machine_was_just_sent_again_is_put_back(
    house: House, gone: PredictionRecord, pixels: bytes, elsewhere: Elsewhere
) -> None:
    theirs = LocalBlobs(house.gateway.data.folder / "blobs")
    assert await theirs.put(image_of(gone), pixels) is False  # it is there, and so it is promised at once
    told = await house.purge(predictions=(gone.id,))
    assert image_of(gone) not in house.images()
    await elsewhere.archive()
    done = await turn(house, told)
    assert house.blobs.get(image_of(gone)) == pixels
    assert (done.records, done.aside, done.done) == (0, 1, False)
    assert (await turn(house, told, SETTLED_S)).done
    assert house.blobs.get(image_of(gone)) == pixels
    assert list(waiting(house.blobs)) == []
    theirs.close()


async def test_it_is_the_same_in_a_bucket(
    house: House, gone: PredictionRecord, pixels: bytes, s3: S3, tmp_path: Path
) -> None:
    place = s3.url(tmp_path.name)
    house.blobs, house.log, theirs = (
        open_objects(f"{place}/blobs"),
        open_objects(f"{place}/log"),
        open_blobs(f"{place}/blobs"),
    )
    assert await theirs.put(image_of(gone), pixels)
    assert not await theirs.put(image_of(gone), pixels)
    told = await house.purge(predictions=(gone.id,))
    assert house.images() == set()
    await Elsewhere(house, tmp_path / "elsewhere", gone).archive()
    assert ((await turn(house, told)).aside, house.images()) == (1, {image_of(gone)})
    assert (await turn(house, told, SETTLED_S)).done
    assert content(house.blobs) == {image_of(gone): pixels}
    again = await house.purge(predictions=("sent again",))
    assert house.images() == set()
    assert (await turn(house, again, SETTLED_S + 1)).done
    assert content(house.blobs) == {}


async def test_whoever_sends_it_after_that_stores_it_anew(
    house: House, gone: PredictionRecord, pixels: bytes, elsewhere: Elsewhere
) -> None:
    told = await house.purge(predictions=(gone.id,))
    theirs = LocalBlobs(house.gateway.data.folder / "blobs")
    assert await theirs.put(image_of(gone), pixels) is True
    await turn(house, told)
    assert house.blobs.get(image_of(gone)) == pixels
    await elsewhere.archive()
    assert (await turn(house, told, SETTLED_S)).done
    assert house.blobs.get(image_of(gone)) == pixels
    theirs.close()


async def test_what_nobody_needs_is_gone_within_the_hour_and_a_turn(
    house: House, gone: PredictionRecord, pixels: bytes
) -> None:
    told = await house.purge(predictions=(gone.id,))
    (aside,) = waiting(house.blobs)
    assert (aside.sentence, aside.image, house.blobs.get(aside.name)) == (told.id, image_of(gone), pixels)
    done = await turn(house, told, SETTLED_S - 1)
    assert (done.aside, round(done.until - house.now), done.done) == (1, 1, False)
    assert (await turn(house, told, 2)).done
    assert pixels not in content(house.blobs).values()


async def test_what_was_sent_once_more_and_never_recorded_goes_too(
    house: House, gone: PredictionRecord, pixels: bytes
) -> None:
    told = await house.purge(predictions=(gone.id,))
    house.blobs.put(image_of(gone), pixels)  # its gateway died before the record
    assert not (await turn(house, told, SETTLED_S + 1)).done
    assert image_of(gone) not in house.images()
    assert (await turn(house, told, SETTLED_S + 1)).done
    assert pixels not in content(house.blobs).values()


@pytest.mark.parametrize("needed", [False, True])
async def test_whoever_dies_between_two_steps_is_made_up_for(
    house: House, gone: PredictionRecord, pixels: bytes, elsewhere: Elsewhere, tmp_path: Path, needed: bool
) -> None:
    """At every step of three turns; whatever is promised is there after one turn more, and what is not is gone in the end."""
    records = house.left()
    if needed:
        await elsewhere.archive()
    archived, alive = content(house.log), None
    for steps in range(40):
        at = House(house.gateway, tmp_path / f"at{steps}")
        for name, row in archived.items():
            at.log.put(name, row)
        await asyncio.to_thread(write, at.journal, *records)
        at.blobs = open_objects(tmp_path / f"at{steps}" / "blobs")
        at.blobs.put(image_of(gone), pixels)
        told = await asyncio.to_thread(at.purging(False).bury, at.tombstone(predictions=(gone.id,)))
        unseen = {name: at.log.get(name) for name in archived if "elsewhere" in name}
        for name in unseen:  # until the second turn
            at.log.delete(name)
        inner, at.blobs = at.blobs, Dying(at.blobs, steps)
        try:
            await at.purging(False).carry_out(told)
            for name, row in unseen.items():
                at.log.put(name, row)
            at.now += SOON_S
            await at.purging(False).carry_out(told)
            at.now += SETTLED_S
            await at.purging(False).carry_out(told)
            alive = steps
        except Died:
            pass
        at.blobs = inner
        assert pixels in content(inner).values() or not needed, steps
        for name, row in unseen.items():
            at.log.put(name, row)
        at.now += 1
        await at.purging(False).carry_out(told)
        if needed:
            assert inner.get(image_of(gone)) == pixels, steps
        assert not (await turn(at, told, SETTLED_S + 1, serving=False)).pending, steps
        assert (await turn(at, told, SETTLED_S + 1, serving=False)).done, steps
        assert content(inner) == ({image_of(gone): pixels} if needed else {}), steps
        if alive is not None:
            break
    assert alive is not None
    assert alive >= (4 if needed else 3)  # copy, delete, and for good; or copy, delete, put back, and the copy


async def test_whoever_was_stopped_between_two_steps_takes_nothing_away(
    house: House, gone: PredictionRecord, pixels: bytes
) -> None:
    """Its copy was deleted for good by another gateway, and in the hours since somebody was promised the image."""

    class Stopped(Dying):
        def delete(self, name: str) -> None:
            house.now += 2 * SETTLED_S
            for each in waiting(self.inner):
                self.inner.delete(each.name)
            super().delete(name)

    told = Settled()
    assert Condemned(Stopped(house.blobs), "a", lambda: house.now).condemn(image_of(gone), told)
    (aside,) = waiting(house.blobs)
    assert (round(aside.since - house.now), house.blobs.get(aside.name)) == (0, pixels)


async def test_a_hold_that_is_declared_meanwhile_gets_its_image_back(house: House, gone: PredictionRecord) -> None:
    told = await asyncio.to_thread(house.purging().bury, house.tombstone(predictions=(gone.id,)))
    house.log, log = Dying(house.log, 0), house.log
    with pytest.raises(Died):  # the archive is away when the image is out of its name
        await house.purging().carry_out(told)
    house.log = log
    Condemned(house.blobs, told.id, lambda: house.now).condemn(image_of(gone), Settled())
    house.held.append(HoldDocument(why="court order", predictions=(gone.id,)))
    done = await turn(house, told)
    assert (done.held, done.records, image_of(gone) in house.images()) == (1, 0, True)
    done = await turn(house, told, SETTLED_S)
    assert (done.done, image_of(gone) in house.images(), list(waiting(house.blobs))) == (True, True, [])


async def old(house: House, tmp_path: Path) -> list[str]:
    """Everything in the house is ten days old now; its images."""
    aged = [msgspec.structs.replace(each, received_at=now_us() - 10 * DAY_US) for each in predictions(house)]
    house.journal = tmp_path / "aged"
    await asyncio.to_thread(write, house.journal, *aged)
    return [image_of(each) for each in aged]


async def test_old_images_wait_as_well(
    house: House, elsewhere: Elsewhere, pixels: bytes, retention: LocalDocuments, tmp_path: Path
) -> None:
    first, _ = await old(house, tmp_path)
    done = await keep_house(house.log, house.purging(), retention)
    assert (done["images"], done["aside"], house.images()) == (2, 2, set())
    await elsewhere.archive()
    house.now += SOON_S
    assert (await keep_house(house.log, house.purging(), retention))["aside"] == 2
    assert house.images() == {first}
    house.now += SETTLED_S
    assert (await keep_house(house.log, house.purging(), retention))["aside"] == 0
    assert content(house.blobs) == {first: pixels}
    assert len(predictions(house)) == 3


@pytest.mark.parametrize("why", ["held", "kept for longer", "kept for ever"])
async def test_old_images_that_are_kept_after_all_are_put_back(
    house: House, retention: LocalDocuments, tmp_path: Path, why: str
) -> None:
    images = await old(house, tmp_path)
    await keep_house(house.log, house.purging(), retention)
    name = "projects/default/retention/default.json"
    etag = retention.read(name)[1]
    if why == "held":
        house.held.append(HoldDocument(why="court order", site="default"))
    elif why == "kept for longer":
        retention.swap(name, b'{"images_days": 100}', etag)
    else:
        retention.remove(name, etag)
    for after in (SOON_S, SETTLED_S):
        house.now += after
        await keep_house(house.log, house.purging(), retention)
        assert house.images() == set(images)
    assert list(waiting(house.blobs)) == []


async def test_whoever_comes_after_a_purge_was_done_is_come_back_to(
    house: House, gone: PredictionRecord, pixels: bytes, tmp_path: Path
) -> None:
    """A slow gateway read its records before another one finished."""
    told = await house.purge(predictions=(gone.id,))
    assert (await house.go_on(told)).done
    house.blobs.put(image_of(gone), pixels)
    Condemned(house.blobs, told.id, lambda: house.now).condemn(image_of(gone), Settled())
    house.now += SETTLED_S + 1
    await keep_house(house.log, house.purging(), LocalDocuments(tmp_path / "control"))
    assert pixels not in content(house.blobs).values()


async def test_a_log_that_was_restored_from_before_a_purge_gets_its_images_back(
    house: House, gone: PredictionRecord, pixels: bytes, tmp_path: Path
) -> None:
    house.blobs.put("default/default/of-nobody", b"of nobody")
    for name in (image_of(gone), "default/default/of-nobody"):
        Condemned(house.blobs, "forgotten", lambda: house.now).condemn(name, Settled())
    assert tombstones.load(house.log) == []
    for after in (SOON_S, SETTLED_S):
        house.now += after
        await keep_house(house.log, house.purging(), LocalDocuments(tmp_path / "control"))
        assert house.blobs.get(image_of(gone)) == pixels
    assert list(waiting(house.blobs)) == []


async def test_gateways_put_back_by_themselves(
    house: House, gone: PredictionRecord, elsewhere: Elsewhere, valkey: Valkey, tmp_path: Path
) -> None:
    await house.purge(predictions=(gone.id,))
    await elsewhere.archive()
    places = {
        "blobs": str(house.gateway.data.folder / "blobs"), "control": str(tmp_path / "control"), "redis": valkey.url,
        "timeout_s": 5.0,
    }  # fmt: skip
    now = [0.0]
    log = str(house.journal.parent / "log")
    archiving = Archiving(house.journal, log, "n", 0.0, lambda: None, Metrics(), lambda: now[0], places)
    now[0] = 10_000
    await archiving.step()
    assert image_of(gone) in house.images()


async def test_a_backup_leaves_out_what_is_purged(house: House, gone: PredictionRecord, tmp_path: Path) -> None:
    await house.purge(predictions=(gone.id,))
    settings = Settings(data=house.gateway.data.folder, journal=house.journal, log=str(house.journal.parent / "log"))
    target = open_objects(tmp_path / "backup")
    assert save(settings, target, True, False, lambda: None)["blobs"] == 1
    assert [name for name in content(target) if FOLDER in name] == []


def test_no_project_can_be_named_so() -> None:
    assert re.fullmatch(NAME, FOLDER.removeprefix("_"))
    assert not re.fullmatch(NAME, FOLDER)


async def test_the_command_line_says_what_remains_and_what_to_do(house: House, valkey: Valkey) -> None:
    gone, data = predictions(house)[0], house.gateway.data.folder
    options = ["--data", str(data), "--log", str(house.journal.parent / "log"), "--redis-url", valkey.url]
    await asyncio.to_thread(Archiver(house.log, house.journal).turn)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(secondreader.main, ["log", "purge", *arguments, *options])
        assert done.exit_code == 0, done.output
        return done.output

    says = r"1 image is kept aside until \d\d:\d\d UTC in case somebody was promised them; a running gateway, or "
    says += r"`secondreader log purge --resume` then, deletes them\n"
    for arguments in (("--prediction", gone.id, "--yes"), ("--resume",)):
        assert re.search(says, await asyncio.to_thread(run, *arguments))
    later = opened(house.log, house.journal, house.blobs, LocalDocuments(data / "control"), None)
    later._clock = lambda: house.now + SETTLED_S + 60
    await keep_house(house.log, later, LocalDocuments(data / "control"))
    assert "aside" not in await asyncio.to_thread(run, "--resume")
