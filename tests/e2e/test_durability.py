"""Kill -9, a wiped Redis, a restart: what was answered with 2xx is found again, everywhere, once."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from redis import Redis

import secondreader
from model_store.record import PredictionRecord
from tests import bundles, services
from triage.archive.export import export
from triage.client import Client, ServiceError
from triage.control.catalog import Catalog
from triage.explain import explain
from triage.journal.segments import nodes, read
from triage.recovery.recover import recover
from triage.settings import Settings

IMAGES = 2000
CLIENTS = 16
KILL_AFTER = 700


def images(count: int) -> list[bytes]:
    chance = random.Random(7)
    colours = chance.choices(("red", "green", "blue", "grey"), k=count)
    return [bundles.picture(colour, salt=salt) for salt, colour in enumerate(colours)]


def predictions(data: Path) -> list[PredictionRecord]:
    return [
        record for node in nodes(data / "journal") for _, record in read(node) if isinstance(record, PredictionRecord)
    ]


def waiting(redis_url: str) -> set[str]:
    with Redis.from_url(redis_url) as redis:
        return {item.decode() for item in redis.zrange("sr:{default.review}:lane:default\0", 0, -1)}


def test_every_2xx_survives_kill_9_and_a_flushed_redis(tmp_path: Path) -> None:
    services.make_data(tmp_path)
    with (
        services.running_valkey(tmp_path / "valkey") as valkey,
        services.running_gateway(tmp_path, valkey.url) as gateway,
    ):
        answered: list[dict[str, object]] = []
        refused_by_death = threading.Semaphore(0)
        done = threading.Event()

        def send(image: bytes) -> None:
            while True:
                try:
                    answered.append(client.predict(image))
                    return
                except (httpx.TransportError, ServiceError):
                    refused_by_death.release()
                    done.wait(0.05)

        def killer() -> None:
            services.eventually(lambda: len(answered) >= KILL_AFTER)
            gateway.process.kill()
            gateway.start()

        # Without patience, so that the test sees each refusal: the client would send it again by itself.
        with Client(gateway.url, patience_s=0) as client, ThreadPoolExecutor(CLIENTS + 1) as pool:
            death = pool.submit(killer)
            list(pool.map(send, images(IMAGES)))
            death.result()
            assert refused_by_death.acquire(blocking=False), "the gateway was killed while clients were sending"
            assert len(answered) == IMAGES

            some = client.lease("default.review", "ada", count=40)
            for item in some:
                client.answer(item, present=["other"])
            found = {each["id"] for each in pool.map(lambda each: client.prediction(str(each["id"])), answered)}
            ids = {str(each["id"]) for each in answered}
            assert found == ids

            export(tmp_path / "journal", tmp_path / "log")
            logged = pq.read_table(tmp_path / "log" / "predictions", columns=["id"])["id"].to_pylist()
            assert ids <= set(logged)
            assert len(logged) == len(set(logged))

            reviewed = {item.item for item in some}
            unresolved = {record.id for record in predictions(tmp_path) if record.route == "review"} - reviewed
            assert waiting(valkey.url) == unresolved

            gateway.process.kill()
            with Redis.from_url(valkey.url) as redis:
                redis.flushall()
            settings = Settings(data=tmp_path, redis_url=valkey.url)
            assert asyncio.run(recover(settings))["waiting"] == len(unresolved)
            assert waiting(valkey.url) == unresolved
            gateway.start()
            services.eventually(lambda: ready(gateway.url) == "answering")
            assert waiting(valkey.url) == unresolved
            final = client.prediction(some[0].item)["final"]
            assert final["by"] == "people"

    catalog = Catalog(tmp_path)
    disagreeing = [record.id for record in predictions(tmp_path) if not explain(record, catalog).agrees]
    assert disagreeing == []


def test_a_flushed_redis_is_noticed_and_filled_while_the_gateway_runs(tmp_path: Path) -> None:
    services.make_data(tmp_path)
    with (
        services.running_valkey(tmp_path / "valkey") as valkey,
        services.running_gateway(tmp_path, valkey.url) as gateway,
        Client(gateway.url) as client,
    ):
        ids = {client.predict(image)["id"] for image in images(60)}
        before = waiting(valkey.url)
        with Redis.from_url(valkey.url) as redis:
            redis.flushall()
        services.eventually(lambda: waiting(valkey.url) == before)
        assert {client.prediction(each)["id"] for each in ids} == ids


def test_predictions_go_on_while_redis_is_away(tmp_path: Path) -> None:
    services.make_data(tmp_path)
    with (
        services.running_valkey(tmp_path / "valkey") as valkey,
        services.running_gateway(tmp_path, valkey.url, redis_timeout_s="0.5") as gateway,
        Client(gateway.url) as client,
    ):
        client.predict(bundles.picture("red"))
        valkey.process.kill()
        meanwhile = [client.predict(image) for image in images(30)]
        with pytest.raises(ServiceError) as away:
            client.prediction(meanwhile[0]["id"])
        assert away.value.status == 503
        valkey.start()
        services.eventually(lambda: ready(gateway.url) == "answering")
        expected = {each["id"] for each in meanwhile if each["route"] == "review"}
        services.eventually(lambda: waiting(valkey.url) >= expected)
        assert {client.prediction(each["id"])["route"] for each in meanwhile} == {"automatic", "review"}


def test_the_recover_command_counts_what_it_restored(tmp_path: Path) -> None:
    services.make_data(tmp_path)
    with services.running_valkey(tmp_path / "valkey") as valkey:
        with services.running_gateway(tmp_path, valkey.url) as gateway, Client(gateway.url) as client:
            for _ in range(3):
                client.predict(bundles.picture("grey"))
            client.answer(client.lease("default.review", "ada")[0], present=["other"])
        with Redis.from_url(valkey.url) as redis:
            redis.flushall()
        options = ["recover", "--data", str(tmp_path), "--redis-url", valkey.url, "--json"]
        result = CliRunner().invoke(secondreader.main, options)
        assert result.exit_code == 0, result.output
        assert '"waiting": 2' in result.output


def ready(url: str) -> str:
    reply = httpx.get(f"{url}/readyz", trust_env=False)
    body = reply.json()
    return "behind" if any("index" in reason for reason in body["why"]) else str(body["status"])
