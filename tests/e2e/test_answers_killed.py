"""Kill -9 while people answer and amend: what was acknowledged is journaled, told once, and final in its last edition."""

from __future__ import annotations

import json
import random
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from model_store.record import VerdictRecord
from tests import bundles, services
from triage.client import Client, ServiceError
from triage.index.scripts import key
from triage.journal.segments import nodes, read

IMAGES = 120
REVIEWERS = 4
KILLS = 6
LABELS = ("red", "green", "blue")
QUEUE = "default.review"


def verdicts(data: Path) -> list[VerdictRecord]:
    return [record for node in nodes(data / "journal") for _, record in read(node) if isinstance(record, VerdictRecord)]


def test_answers_and_amendments_survive_kill_9_at_any_moment(tmp_path: Path) -> None:
    services.make_data(tmp_path)
    queue = tmp_path / "control" / "projects" / "default" / "queues" / "review.json"
    queue.parent.mkdir(parents=True)
    queue.write_text(json.dumps({"hold_s": 0.3}))
    with (
        services.running_valkey(tmp_path / "valkey") as valkey,
        services.running_gateway(tmp_path, valkey.url, lease_s="2") as gateway,
    ):
        stop, acknowledged, lock = threading.Event(), dict[str, dict[str, Any]](), threading.Lock()

        def reviews(name: str) -> None:
            chance = random.Random(name)
            with Client(gateway.url, patience_s=20.0) as client:
                while not stop.is_set():
                    try:
                        for item in client.lease(QUEUE, name, wait_s=0.2):
                            said = client.answer(item, present=[chance.choice(LABELS)])
                            keep(item.item, said)
                            if chance.random() < 0.5:
                                keep(item.item, client.amend(said, present=[chance.choice(LABELS)], reviewer=name))
                    except (httpx.TransportError, ServiceError):  # its lease ran out while the gateway was dead
                        stop.wait(0.05)

        def keep(item: str, said: dict[str, Any]) -> None:
            with lock:
                before = acknowledged.get(item)
                assert before is None or (before["id"], before["revision"]) < (said["id"], said["revision"]), (
                    "answered twice"
                )
                acknowledged[item] = said

        with Client(gateway.url) as client, ThreadPoolExecutor(REVIEWERS) as pool:
            sent = [client.predict(bundles.picture("blue", salt=salt))["id"] for salt in range(IMAGES)]
            people = [pool.submit(reviews, f"reader-{number}") for number in range(REVIEWERS)]
            for kill in range(1, KILLS + 1):
                services.eventually(lambda kill=kill: len(acknowledged) >= kill * IMAGES // (KILLS + 2))  # type: ignore[misc]
                gateway.process.kill()
                gateway.start()
            services.eventually(lambda: len(acknowledged) == IMAGES or _idle(client), 60)
            services.eventually(lambda: all(client.prediction(each)["final"] for each in sent), 60)
            stop.set()
            for each in people:
                each.result()
            services.eventually(lambda: not _held(valkey.url))
            told = client.outcomes(QUEUE)
            heard: dict[str, list[dict[str, Any]]] = defaultdict(list)
            while sum(map(len, heard.values())) < _published(valkey.url):
                outcome = next(told)[1]
                heard[outcome["prediction"]].append(outcome)
            finals = {each: client.prediction(each)["final"] for each in sent}

    journaled: dict[str, dict[int, VerdictRecord]] = defaultdict(dict)
    for verdict in verdicts(tmp_path):
        before = journaled[verdict.prediction].setdefault(verdict.revision, verdict)
        assert before == verdict, "two verdicts of one edition"
    assert set(journaled) == set(sent)
    for name in sent:
        editions = journaled[name]
        assert len({each.id for each in editions.values()}) == 1, "two people answered one image"
        last = editions[max(editions)]
        if name in acknowledged:
            said = acknowledged[name]
            assert editions[said["revision"]].answers == said["answers"], "an acknowledged answer is lost"
        revisions = [each["final"]["revision"] for each in heard[name]]
        assert len(revisions) == len(set(revisions)), "told twice"
        assert max(revisions) == last.revision
        assert finals[name]["labels"] == [label for label, said in last.answers.items() if said == "present"]


def _idle(client: Client) -> bool:
    found = client.queue(QUEUE)
    return bool(found["waiting"] + found["leased"] == 0)


def _held(redis_url: str) -> int:
    with Redis.from_url(redis_url) as redis:
        return int(redis.zcard(key(QUEUE, "held")))


def _published(redis_url: str) -> int:
    with Redis.from_url(redis_url) as redis:
        return int(redis.xlen(key(QUEUE, "outcomes")))
