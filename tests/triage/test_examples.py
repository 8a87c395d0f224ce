"""The examples as they stand, run as programs against a real gateway."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedded.ports import free_ports
from embedded.process import Process
from embedded.stack import Gateway, Valkey
from tests.bundles import picture
from tests.services import eventually, make_data, raw, running_gateway
from tests.triage.receiver import SECRET
from triage.client import Client

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def running(folder: Path, name: str, *arguments: str) -> Iterator[Process]:
    process = Process(name, [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments], folder / f"{name}.log")
    try:
        yield process
    except BaseException as error:
        error.add_note(process.tail(40))
        raise
    finally:
        process.kill()


@pytest.fixture
def gateway(tmp_path: Path, valkey: Valkey, redis: object) -> Iterator[Gateway]:
    data = make_data(tmp_path / "data")
    (data.folder / "webhook-secrets").mkdir()
    (data.folder / "webhook-secrets/lab").write_text(SECRET)
    settings = {"webhook_hosts": '["127.0.0.1"]', "hold_s": "0", "lease_s": "60"}
    with running_gateway(data.folder, valkey.url, **settings) as opened:
        yield opened


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    with Client(gateway.url) as opened:
        yield opened


def final(client: Client, prediction: str) -> Any:
    return client.prediction(prediction)["final"]


def say(folder: Path, item: str, **said: Any) -> None:
    part = folder / "answered" / f"{item}.part"
    part.write_text(json.dumps(said))
    part.replace(part.with_suffix(".json"))


def test_a_consumer_brings_answers_back_also_when_it_is_killed_between(
    tmp_path: Path, gateway: Gateway, client: Client
) -> None:
    sent = [client.predict(picture("blue", salt=salt))["id"] for salt in range(5)]
    bridge = tmp_path / "bridge"
    arguments = ("--url", gateway.url, "--reviewer", "ada", "--folder", str(bridge), "--at-once", "3")

    def there() -> set[str]:
        return {path.stem for path in (bridge / "to-read").glob("*.png")}

    with running(tmp_path, "consumer", *arguments) as first:
        eventually(lambda: len(there()) == 3)
        out = sorted(there())
        first.kill()
    assert client.lease("default.review", "bob", count=9) != []  # two were left, and bob has them now
    say(bridge, out[0], present=["blue"])
    say(bridge, out[1], present=["nonsense"])
    with running(tmp_path, "consumer", *arguments):
        eventually(lambda: client.prediction(out[0])["final"])
        refused = bridge / "answered" / f"{out[1]}.refused"
        eventually(refused.exists)
        for name, text in (("stranger", "{}"), (out[1], "{"), (out[1], "[]")):
            refused.unlink(missing_ok=True)
            part = bridge / "answered" / "part"
            part.write_text(text)
            part.replace(bridge / "answered" / f"{name}.json")
            eventually((bridge / "answered" / f"{name}.refused").exists)
        say(bridge, out[1], outcome="unusable", note="blurred")
        say(bridge, out[2], present=["blue"], absent=["red"])
        for item in out:
            eventually(partial(final, client, item))
        eventually(lambda: there() == set())
    assert client.prediction(out[1])["final"]["outcome"] == "unusable"
    assert set(out) < set(sent)


def test_a_receiver_takes_each_outcome_once_and_asks_for_what_never_came(
    tmp_path: Path, gateway: Gateway, client: Client
) -> None:
    port = free_ports(1)[0]
    secret, database = tmp_path / "secret", tmp_path / "outcomes.db"
    secret.write_text(SECRET)
    arguments = ("--port", str(port), "--secret", str(secret), "--database", str(database), "--url", gateway.url,
                 "--ask-after", "0.2")  # fmt: skip

    def rows(query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(database)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def answer(salt: int) -> str:
        sent = str(client.predict(picture("blue", salt=salt))["id"])
        (item,) = client.lease("default.review", "ada", wait_s=5)
        client.answer(item, present=["blue"])
        return sent

    missed = answer(1)
    with running(tmp_path, "webhook_receiver", *arguments) as process, raw(gateway) as http:
        eventually(lambda: "listens" in process.tail())
        document = {"url": f"http://127.0.0.1:{port}/", "secrets": ["file:lab"], "after": "2099-01-01T00:00:00Z"}
        path = "/v1/projects/default/webhooks/w"
        put = http.put(path, json=document, headers={"If-None-Match": "*"})
        assert put.is_success, put.text
        assert httpx.post(f"http://127.0.0.1:{port}/", content=b"{}", trust_env=False).status_code == 401
        connection = sqlite3.connect(database)
        with connection:
            connection.execute("INSERT INTO waiting VALUES (?, ?)", (missed, time.time()))
        connection.close()
        eventually(lambda: rows("SELECT prediction, labels FROM outcomes") == [(missed, '["blue"]')])
        assert rows("SELECT * FROM inbox") == []  # it was asked for, and not sent
        del document["after"]
        put = http.put(path, json=document, headers={"If-Match": put.headers["etag"]})
        assert put.is_success, put.text
        sent = answer(2)
        eventually(lambda: sent in {row[0] for row in rows("SELECT prediction FROM outcomes")})
        assert http.post(f"{path}/replay", json={"after": "0"}).is_success
        metric = 'triage_webhook_deliveries_total{project="default",result="delivered",webhook="w"} 4.0'
        eventually(lambda: metric in http.get("/metrics").text)
        assert rows("SELECT count(*), sum(taken) FROM inbox") == [(2, 2)]
        assert sorted(rows("SELECT prediction, type FROM outcomes")) == sorted([(missed, "final"), (sent, "final")])
    assert os.path.exists(database)
