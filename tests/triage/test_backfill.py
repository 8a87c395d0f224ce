"""Backfill against a real gateway: capped, resumable, giving way, estimated before, from folders and from a real S3 server."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from click.testing import CliRunner, Result

from embedded.process import Process
from embedded.stack import Gateway, Valkey
from model_store.record import PredictionRecord
from tests.bundles import picture
from tests.services import Data, eventually, make_data, raw, running_gateway
from tests.triage.object_store import S3
from triage.backfill.estimate import estimate, review_share
from triage.backfill.sending import Backfill, Ended, Terms
from triage.backfill.sources import Bucket, Folder, Image, SourceAway, key_of, open_source
from triage.backfill.state import OtherState, State
from triage.client import Client
from triage.commands.backfill import backfill
from triage.journal.segments import read

MONDAY = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return make_data(tmp_path / "data")


@pytest.fixture
def gateway(data: Data, valkey: Valkey, redis: object) -> Iterator[Gateway]:
    with running_gateway(data.folder, valkey.url, hold_s="0") as opened:
        yield opened


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    with Client(gateway.url) as opened:
        yield opened


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six that are answered, six that go to people, one that is no image, one that is empty, and something else."""
    folder = tmp_path / "old"
    for n in range(12):
        path = folder / f"case-{n % 3}" / f"{n:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture("red" if n % 2 else "blue", salt=n))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State files come to lie where a command is run."""
    monkeypatch.chdir(tmp_path)


class Run:
    """One run; `day` is the day that it takes for today."""

    def __init__(self, client: Client, folder: Path, state: Path, **terms: Any) -> None:
        self.client = client
        self.source = Folder(folder)
        self.state = State(state, self.source.place, "default", "default")
        self.terms = Terms("default", "default", {}, **{"rate": 1000.0, "cap": 100, **terms})
        self.day = MONDAY
        self.said: list[str] = []
        self.slept: Callable[[float], None] = lambda _: None

    def __call__(self) -> Ended:
        sending = Backfill(self.client, self.source, self.state, self.terms, lambda: self.day, self.slept)
        return sending.run(self.source.images(), lambda: None, self.said.append)


def predictions(data: Data) -> list[PredictionRecord]:
    return [each for _, each in read(data.folder / "journal/test") if isinstance(each, PredictionRecord)]


def test_everything_is_sent_once_and_kept_apart(client: Client, data: Data, images: Path, tmp_path: Path) -> None:
    run = Run(client, images, tmp_path / "state.db", case_by_folder=True)
    assert run() == Ended(14, 0)
    assert run.state.counts() == {"automatic": 6, "review": 6, "refused": 2}
    assert [name for name, _ in run.state.refused()] == ["broken.jpg", "empty.png"]
    found = predictions(data)
    assert {(each.origin, each.case in ("case-0", "case-1", "case-2")) for each in found} == {("backfill", True)}
    assert len(found) == 12
    assert run() == Ended(0, 0)
    changed = images / "case-0/00.png"
    changed.write_bytes(picture("blue", salt=77))
    assert run() == Ended(1, 0)
    (tmp_path / "state.db").unlink()
    assert Run(client, images, tmp_path / "state.db", case_by_folder=True)() == Ended(14, 0)
    assert len({each.id for each in predictions(data)}) == 13  # the keys know what was sent, also without the file


@pytest.mark.parametrize("at_once", [1, 8])
def test_a_day_has_a_cap_and_the_next_day_goes_on(client: Client, images: Path, tmp_path: Path, at_once: int) -> None:
    run = Run(client, images, tmp_path / "state.db", cap=2, at_once=at_once)
    days = []
    for day in range(3):
        run.day = MONDAY + datetime.timedelta(days=day)
        ended = run()
        days.append(run.state.reviewed(run.day.date()))
        assert run().sent == 0 or ended.left == 0
    assert days == [2, 2, 2]
    run.day = MONDAY + datetime.timedelta(days=3)
    assert run().left == 0
    assert run.state.counts() == {"automatic": 6, "review": 6, "refused": 2}
    assert "run it again tomorrow" in run.said[0]


def test_it_waits_for_tomorrow_when_told_to(client: Client, images: Path, tmp_path: Path) -> None:
    run = Run(client, images, tmp_path / "state.db", cap=2, wait=True)

    def night(_: float) -> None:
        if run.said:
            run.day += datetime.timedelta(days=1)
            run.said.clear()

    run.slept = night
    assert run() == Ended(14, 0)
    assert [run.state.reviewed((MONDAY + datetime.timedelta(days=n)).date()) for n in range(3)] == [2, 2, 2]


def test_people_who_are_behind_are_sent_nothing_more(
    client: Client, gateway: Gateway, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triage.backfill.sending._LOOK_S", 0.0)
    with raw(gateway) as http:
        made = http.put("/v1/projects/default/queues/review", json={"sla_s": 1}, headers={"If-None-Match": "*"})
        assert made.is_success, made.text
    client.predict(picture("blue", salt=500))
    eventually(lambda: any(each["overdue"] for each in client.queues()))
    run = Run(client, images, tmp_path / "state.db")
    sent_while_behind: list[int] = []

    def read_one(_: float) -> None:
        sent_while_behind.append(sum(run.state.counts().values()))
        for item in client.lease("default.review", "ada", count=100):
            client.answer(item, present=["blue"])

    run.slept = read_one
    assert run().left == 0
    assert sent_while_behind[0] == 0
    assert run.said[0] == "waits: people have enough to read"


def test_a_service_that_goes_away_is_waited_for_and_nothing_is_lost(
    gateway: Gateway, data: Data, images: Path, tmp_path: Path
) -> None:
    with Client(gateway.url, patience_s=0.1) as impatient:
        run = Run(impatient, images, tmp_path / "state.db", at_once=1, rate=1000.0)
        gateway.process.kill()
        run.slept = lambda _: None if gateway.process.running else gateway.start()
        monkey = Backfill(impatient, run.source, run.state, run.terms, lambda: run.day, run.slept)
        monkey._watches = False
        assert monkey.run(run.source.images(), lambda: None, run.said.append) == Ended(14, 0)
    assert len({each.id for each in predictions(data)}) == 12


def command(*arguments: str) -> Result:
    return CliRunner().invoke(backfill, list(arguments))


def test_it_says_what_it_costs_and_sends_nothing_unasked(client: Client, gateway: Gateway, images: Path) -> None:
    told = command(str(images), "--url", gateway.url, "--json", "--wage", "40", "--seconds", "90", "--cap", "5")
    assert told.exit_code == 2
    assert "add --yes" in told.output
    found = json.loads(told.output.splitlines()[0])["estimate"]
    assert (found["images"], found["reviews"], found["days"], found["hours"]) == (14, 14, 3, 0.35)
    assert found["cost"] == pytest.approx(14)
    assert "at most" in found["known_by"]
    halved = command(str(images), "--url", gateway.url, "--json", "--share", "0.5")
    assert json.loads(halved.output.splitlines()[0])["estimate"]["reviews"] == 7
    for n in range(100):
        client.predict(picture("red" if n % 4 else "blue", salt=1000 + n))
    done = command(str(images), "--url", gateway.url, "--json", "--yes", "--rate", "500")
    assert done.exit_code == 1  # two are refused
    first, last = (json.loads(line) for line in done.output.splitlines() if line.startswith("{"))
    assert (first["estimate"]["share"], first["estimate"]["known_by"]) == (0.25, "of the last 100 of this site")
    assert last["done"]["became"] == {"automatic": 6, "review": 6, "refused": 2}
    assert command(str(images), "--url", gateway.url, "--yes").exit_code == 1


def test_a_killed_run_goes_on_and_sends_nothing_twice(
    gateway: Gateway, data: Data, images: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state.db"
    words = ["-m", "secondreader", "backfill", str(images), "--url", gateway.url, "--yes", "--state", str(state)]
    first = Process("backfill", [sys.executable, *words, "--rate", "5"], tmp_path / "backfill.log")
    eventually(lambda: len(predictions(data)) >= 3)
    first.kill()
    assert len(predictions(data)) < 12
    done = command(str(images), "--url", gateway.url, "--yes", "--state", str(state), "--rate", "500", "--json")
    assert json.loads(done.output.splitlines()[-1])["done"]["left"] == 0
    assert len({each.id for each in predictions(data)}) == 12


@pytest.mark.parametrize(("source", "says"), [("nowhere", "no folder"), ("ftp://x/y", "names no object store")])
def test_a_source_that_is_none_is_one_sentence(source: str, says: str) -> None:
    told = command(source, "--yes")
    assert (told.exit_code, says in told.output, "Traceback" in told.output) == (1, True, False), told.output


def test_a_state_of_another_backfill_is_refused(tmp_path: Path) -> None:
    State(tmp_path / "s.db", "a", "p", "s").close()
    with pytest.raises(OtherState, match="is of a for p/s"):
        State(tmp_path / "s.db", "b", "p", "s")
    (tmp_path / "t.db").write_text("something else " * 100)
    with pytest.raises(OtherState, match="no state of a backfill"):
        State(tmp_path / "t.db", "b", "p", "s")


def test_a_bucket_is_read_like_a_folder(client: Client, s3: S3, images: Path, tmp_path: Path) -> None:
    bucket = open_source(s3.url("old images"))
    assert isinstance(bucket, Bucket)
    for path in images.rglob("*.*"):
        obstore.put(bucket._store, path.relative_to(images).as_posix(), path.read_bytes())
    found = sorted(bucket.images())
    assert [each.name for each in found] == sorted(each.name for each in Folder(images).images())
    assert len({key_of(bucket, each, "p", "s") for each in found}) == 14
    state = State(tmp_path / "s.db", bucket.place, "default", "default")
    terms = Terms("default", "default", {}, rate=1000.0)
    assert Backfill(client, bucket, state, terms).run(iter(found), lambda: None, print) == Ended(14, 0)
    assert state.counts() == {"automatic": 6, "review": 6, "refused": 2}
    with pytest.raises(SourceAway):
        bucket.read("gone.png")


def test_an_estimate_knows_its_site_only() -> None:
    text = (
        'triage_decisions_total{project="p",route="review",site="s"} 30.0\n'
        'triage_decisions_total{project="p",route="automatic",site="s"} 70.0\n'
        'triage_decisions_total{project="p",route="review",site="t"} 900.0\n'
    )
    assert review_share(text, "p", "s") == (0.3, 100)
    assert review_share(text, "q", "s") is None
    assert estimate(1001, 0.3, "", 12, 30, 100).told() | {"known_by": ""} == {
        "images": 1001, "share": 0.3, "known_by": "", "reviews": 301, "hours": 301 * 12 / 3600,
        "cost": 301 * 12 / 3600 * 30, "days": 4,
    }  # fmt: skip


def test_a_key_is_of_one_version_at_one_site(tmp_path: Path) -> None:
    source, image = Folder(tmp_path), Image("a.png", "1", 1)
    mine = key_of(source, image, "p", "s")
    assert mine == key_of(Folder(tmp_path), Image("a.png", "1", 9), "p", "s")
    others = [key_of(source, Image("a.png", "2", 1), "p", "s"), key_of(source, image, "p", "t"),
              key_of(source, Image("b.png", "1", 1), "p", "s"), key_of(Folder(tmp_path.parent), image, "p", "s")]  # fmt: skip
    assert len({mine, *others}) == 5
