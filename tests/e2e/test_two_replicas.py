"""Two machines, each a gateway with its own TorchServe, journal and models; one Redis and one object store between them."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis import Redis

import secondreader
from embedded.stack import Gateway
from handlers.server import TorchServe
from tests.bundles import picture
from tests.services import Data, client, eventually, make_data, raw, running_gateway, running_valkey
from tests.triage.object_store import S3, running_s3
from triage.client import Client, ServiceError

pytestmark = pytest.mark.e2e
QUEUE = "default.review"
SITE = "/v1/projects/default/sites/default"


def test_one_goes_on_with_what_the_other_began(tmp_path: Path, require: Callable[[str, bool], None]) -> None:
    require("torchserve", importlib.util.find_spec("ts") is not None)
    here = make_data(tmp_path / "here")
    shutil.rmtree(here.folder / "control")  # documents lie in the store that both share
    there = Data(shutil.copytree(here.folder, tmp_path / "there"), here.bundle, here.rules)
    with (
        running_valkey(tmp_path / "valkey") as valkey,
        running_s3(tmp_path / "s3") as s3,
        ExitStack() as stack,
        ThreadPoolExecutor(8) as pool,
    ):
        one, other = [stack.enter_context(_machine(each, valkey.url, s3)) for each in (here, there)]
        ours, theirs = [stack.enter_context(client(each)) for each in (one, other)]
        _declare(one, suspended=[], rules=here.rules.digest)
        with raw(other) as http:
            eventually(lambda: http.get(SITE).is_success)

        _each_finds_what_the_other_read(ours, theirs)
        _each_hears_what_the_other_is_answered(ours, theirs, pool)
        _declare(one, suspended=["red"], rules=here.rules.digest)
        eventually(lambda: all(_stopped(each) for each in (ours, theirs)))
        _declare(other, suspended=[], rules=here.rules.digest)
        eventually(lambda: not any(_stopped(each) for each in (ours, theirs)))

        sent = list(pool.map(lambda salt: (ours, theirs)[salt % 2].predict(_picture(salt)), range(100, 160)))
        answered = ours.lease(QUEUE, "ada", count=3)
        for item in answered:
            ours.answer(item, ["blue"], ["red", "green"])
        one.process.kill()
        kept = tmp_path / "kept"  # its disk, in another machine
        shutil.move(here.folder / "journal", kept)
        with Redis.from_url(valkey.url) as redis:  # what only that journal holds is nowhere else now
            redis.flushall()
        eventually(lambda: theirs.queue(QUEUE)["waiting"])
        with pytest.raises(ServiceError, match="there is no prediction"):
            theirs.prediction(str(sent[0]["id"]))

        places = ["--data", str(there.folder), "--log", s3.url("store/log"), "--redis-url", valkey.url]
        said = CliRunner().invoke(secondreader.main, ["recover", "--journal", str(kept), *places, "--json"])
        assert said.exit_code == 0, said.output
        found = [theirs.prediction(str(each["id"])) for each in sent]
        assert [(each["route"], each["labels"]) for each in found] == [(each["route"], each["labels"]) for each in sent]
        people = {each["id"] for each in found if (each["final"] or {}).get("by") == "people"}
        assert people >= {item.item for item in answered} & {str(each["id"]) for each in sent}
        assert all(theirs.image(str(each["id"])) for each in sent)

        held: list[str] = []
        while more := theirs.lease(QUEUE, "grace", count=50):
            held += [item.item for item in more]
        assert len(held) == len(set(held)), "nobody is asked twice"
        assert set(held) >= {str(each["id"]) for each in sent if each["route"] == "review"} - people, "nothing is lost"
        assert not set(held) & {item.item for item in answered}


@contextmanager
def _machine(data: Data, redis: str, s3: S3) -> Iterator[Gateway]:
    node = data.folder.name
    with (
        TorchServe(data.bundle) as model,
        running_gateway(
            data.folder, redis, node=node, store=s3.url("store"), classifier="torchserve",
            torchserve_url=f"http://127.0.0.1:{model.listen.inference}",
        ) as gateway,
    ):  # fmt: skip
        yield gateway


def _declare(gateway: Gateway, **fields: object) -> None:
    wanted = {"mode": "live", "model": "colours/1", "audit": {"probability": 0, "suspended": 0}, **fields}
    with raw(gateway) as http:
        now = http.get(SITE)
        condition = {"If-Match": now.headers["etag"]} if now.is_success else {"If-None-Match": "*"}
        assert http.put(SITE, json=wanted, headers=condition).is_success


def _picture(salt: int) -> bytes:
    return picture(("red", "blue")[salt // 2 % 2], salt=salt)


def _stopped(calls: Client) -> bool:
    said = calls.predict(picture("red"))
    assert said["route"] == ("review" if said["reasons"] else "automatic")
    return "class_suspended" in said["reasons"]


def _each_finds_what_the_other_read(ours: Client, theirs: Client) -> None:
    for salt in range(4):
        for reader, other in ((ours, theirs), (theirs, ours)):
            said = reader.predict(_picture(salt))
            assert other.prediction(str(said["id"])) == said
            assert other.image(str(said["id"])) == reader.image(str(said["id"]))


def _each_hears_what_the_other_is_answered(ours: Client, theirs: Client, pool: ThreadPoolExecutor) -> None:
    for waits, desk in ((ours, theirs), (theirs, ours)):
        (item,) = desk.lease(QUEUE, "ada")
        final = pool.submit(waits.prediction, item.item, 25)
        assert waits.prediction(item.item)["final"] is None
        assert not final.done()
        desk.answer(item, ["blue"], ["red", "green"])
        assert final.result()["final"]["labels"] == ["blue"]
