"""The drill: back up, lose everything, restore, recover. Every prediction explains itself, and the queue is what it was."""

from __future__ import annotations

import asyncio
import datetime
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis import Redis

import secondreader
from embedded.stack import Valkey
from tests.triage.failing_objects import Died, Dying, content
from tests.triage.gateway_parts import Wired
from tests.triage.object_store import S3
from tests.triage.test_index import contents, story
from tests.triage.test_journal import write
from tests.triage.written import event
from triage.archive.archiver import Archiver
from triage.archive.backup import MANIFEST, restore, save
from triage.archive.compact import compact
from triage.archive.history import History
from triage.errors import Conflict, Invalid
from triage.journal.reading import segments
from triage.settings import Settings
from triage.store.objects import Objects
from triage.store.places import open_objects


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "backup")
    server: S3 = request.getfixturevalue("s3")
    return server.url(f"backup-{tmp_path.parent.name}-{tmp_path.name}")


async def run(*arguments: str) -> dict[str, Any]:
    def invoked() -> dict[str, Any]:
        done = CliRunner().invoke(secondreader.main, [*arguments, "--json"])
        assert done.exit_code == 0, done.output
        told: dict[str, Any] = json.loads(done.output)
        return told

    return await asyncio.to_thread(invoked)


async def test_the_drill(gateway: Wired, redis: Redis, valkey: Valkey, place: str, tmp_path: Path) -> None:
    """A part of the journal is archived and merged, a part closed, a part being written."""
    data = gateway.data.folder
    told = await story(gateway)
    for record in told[len(gateway.journaled()) :]:
        await gateway.recorder.record(record)
    sent = gateway.predictions()
    await asyncio.to_thread(gateway.journal._turn)
    await asyncio.to_thread(Archiver(open_objects(data / "log"), data / "journal").turn)
    (first, _) = segments(gateway.journal.folder)
    await asyncio.to_thread(first.unlink)
    await gateway.predict("blue", 77)
    await asyncio.to_thread(gateway.journal._turn)
    await gateway.predict("blue", 78)
    lived = contents(redis)
    images = content(open_objects(data / "blobs"))
    counts = await run("backup", place, "--blobs", "--models", "--data", str(data))
    assert counts["journal"] == 2
    assert counts["blobs"] == len(images)
    key = (data / "control" / "audit.key").read_bytes()

    await asyncio.to_thread(shutil.rmtree, data)
    redis.flushall()
    again = str(tmp_path / "again")
    assert await run("restore", place, "--data", again) == counts
    recovered = await run("recover", "--data", again, "--redis-url", valkey.url)
    assert contents(redis) == lived
    assert recovered["records"] == len(told) + 2
    replayed = await run("log", "replay", "--data", again)
    assert replayed["agree"] == replayed["decided"] == len(sent) + 2
    for each in sent[:3]:
        assert (await run("explain", each.id, "--data", again))["agrees"]
    assert content(open_objects(Path(again) / "blobs")) == images
    assert (Path(again) / "control" / "audit.key").read_bytes() == key
    assert (Path(again) / "control" / "audit.key").stat().st_mode & 0o777 == 0o600


def made(folder: Path) -> Settings:
    """A data folder with a journal, a log, a document and a rule."""
    for number in range(4):
        write(folder / "journal", event(number))
    Archiver(open_objects(folder / "log"), folder / "journal").turn()
    for name in ("control/projects/p/sites/s.json", "rules/a.json", "keys/trusted/a.pem", "models/m/1/manifest.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return Settings(data=folder)


def ignore() -> None:
    """Progress that nobody watches."""


def test_only_an_empty_place_is_written(tmp_path: Path) -> None:
    settings, target = made(tmp_path / "data"), open_objects(tmp_path / "backup")
    save(settings, target, False, False, ignore)
    with pytest.raises(Conflict, match=r"^the backup's place is not empty"):
        save(settings, target, False, False, ignore)
    with pytest.raises(Conflict, match=r"is not empty, it holds n/.*; restore journal into an empty place"):
        restore(target, settings, ignore)
    counts = restore(target, Settings(data=tmp_path / "again"), ignore)
    assert counts == {"journal": 4, "log": 8, "rules": 1, "keys": 1, "thresholds": 0, "uses": 0, "control": 1}
    assert not (tmp_path / "again" / "models").exists()


def test_a_folder_in_which_nothing_is_makes_no_backup(tmp_path: Path) -> None:
    done = CliRunner().invoke(secondreader.main, ["backup", str(tmp_path / "kept"), "--data", str(tmp_path / "wrong")])
    assert done.exit_code == 1
    assert "holds nothing to save; name the folder that gateways use with --data" in done.output.replace("\n", " ")
    assert not list((tmp_path / "kept").rglob("*.json"))


def test_a_backup_that_was_not_finished_is_none(tmp_path: Path) -> None:
    settings = made(tmp_path / "data")
    whole = Dying(open_objects(tmp_path / "whole"))
    save(settings, whole, True, True, ignore)
    assert whole.log[-1] == f"put {MANIFEST}"
    for steps in range(whole.made):
        target = open_objects(tmp_path / f"backup{steps}")
        with pytest.raises(Died):
            save(settings, Dying(target, steps), True, True, ignore)
        with pytest.raises(Invalid, match=r"was not finished; name what .secondreader backup. filled$"):
            restore(target, Settings(data=tmp_path / f"again{steps}"), ignore)
        assert not (tmp_path / f"again{steps}").exists()


def test_damage_of_a_backup_is_found_and_no_document_is_restored(tmp_path: Path) -> None:
    settings, target = made(tmp_path / "data"), open_objects(tmp_path / "backup")
    save(settings, target, False, True, ignore)
    for number, (name, whole) in enumerate(content(target).items()):
        if name == MANIFEST:
            continue
        again = Settings(data=tmp_path / f"again{number}")
        target.put(name, whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(Invalid, match=r"is damaged; use another backup$"):
            restore(target, again, ignore)
        target.delete(name)
        if not name.startswith("files/"):
            with pytest.raises(Invalid, match=r"is missing from the backup; use another backup$"):
                restore(target, Settings(data=tmp_path / f"missing{number}"), ignore)
        assert not list(open_objects(again.control_place).list())
        target.put(name, whole)


class Merging(Dying):
    """A log that somebody merges as soon as its first object is read."""

    def read(self, name: str) -> tuple[bytes, str]:
        found = super().read(name)
        if not self.made:
            self.made = 1
            compact(self.inner, datetime.date(2099, 1, 1))
        return found


def test_what_is_merged_meanwhile_is_saved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, target = made(tmp_path / "data"), open_objects(tmp_path / "backup")
    log = str(tmp_path / "data" / "log")
    for path in segments(tmp_path / "data" / "journal" / "n"):
        path.unlink()

    def opened(place: str) -> Objects:
        return Merging(open_objects(place)) if place == log else open_objects(place)

    monkeypatch.setattr("triage.archive.backup.open_objects", opened)
    save(settings, target, False, False, ignore)
    monkeypatch.undo()
    again = Settings(data=tmp_path / "again")
    restore(target, again, ignore)
    ids = [record.id for record in History(open_objects(again.log_place), again.journal_folder).records()]
    assert sorted(ids) == [f"{number:06d}" for number in range(4)]
    assert content(open_objects(again.log_place)) == content(open_objects(log))
