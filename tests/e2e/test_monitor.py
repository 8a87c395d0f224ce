"""A class goes bad at one site of two: it is suspended there by itself, its answers are recalled, people read its images, the
other site goes on answering, and it earns its way back; through a kill -9 and a lost index."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from click.testing import CliRunner
from redis import Redis

import secondreader
from model_store.manifest import ImageSpec
from model_store.record import PredictionRecord
from tests import services
from tests.bundles import picture
from tests.triage.auditing import lenient
from triage.client import Client
from triage.control.catalog import Catalog
from triage.explain import explain
from triage.journal.segments import nodes, read
from triage.safe_image import safe_image

QUEUE = "default.review"
SITES = ("north", "south")
LABELS = ("red", "green", "blue", "other")
SPEC = ImageSpec(height=16, width=16)


@dataclass
class World:
    """Images with a truth of their own, whatever the model calls them, and people who see it."""

    client: Client
    truth: dict[bytes, str] = field(default_factory=dict)
    """The image as reviewers are shown it -> its label: a blind item tells nothing else."""
    salts: Iterator[int] = field(default_factory=itertools.count)

    def send(self, count: int, site: str, colour: str = "red", truth: str | None = None) -> list[dict[str, Any]]:
        replies = []
        for _ in range(count):
            image = picture(colour, salt=next(self.salts))
            self.truth[safe_image(image, SPEC)] = truth or colour
            replies.append(self.client.predict(image, site=site))
        return replies

    def read(self, most: int | None = None) -> int:
        """Ada and Ben answer everything that waits, or `most` items; how many."""
        total, answered = 0, 1
        while answered:
            answered = 0
            for reviewer in ("ada", "ben"):
                for item in self.client.lease(QUEUE, reviewer, count=100 if most is None else max(1, most - total)):
                    seen = self.truth[self.client.leased_image(item)]
                    self.client.answer(item, present=[seen], absent=[each for each in LABELS if each != seen])
                    answered += 1
                    total += 1
                    if total == most:
                        return total
        return total


class Listener:
    """Hears the outcomes in a thread of its own for as long as the gateway lives."""

    def __init__(self, url: str) -> None:
        self.heard: list[dict[str, Any]] = []
        threading.Thread(target=self._listen, args=(url,), daemon=True).start()

    def _listen(self, url: str) -> None:
        with contextlib.suppress(httpx.TransportError), Client(url) as client:
            for _, outcome in client.outcomes(QUEUE):
                self.heard.append(outcome)

    def of(self, kind: str) -> set[str]:
        return {each["prediction"] for each in self.heard if each["type"] == kind}


def ids(replies: list[dict[str, Any]]) -> set[str]:
    return {each["id"] for each in replies}


def test_a_class_goes_bad_at_one_site_and_earns_its_way_back(tmp_path: Path) -> None:
    data = services.make_data(tmp_path, SITES)
    rules = lenient(data, SITES)
    for site in SITES:
        data.declare(site, rules=rules.digest, audit={"probability": 0.5, "suspended": 1})
    with (
        services.running_valkey(tmp_path / "valkey") as valkey,
        services.running_gateway(tmp_path, valkey.url) as gateway,
        Client(gateway.url) as client,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=60) as http,
    ):
        world = World(client)

        def red(site: str) -> dict[str, Any]:
            rows = http.get(f"/v1/projects/default/sites/{site}/monitor").json()["classes"]
            return next(row for row in rows if row["label"] == "red")

        # Both sites are well: everything is answered, and about half of it read blind.
        well = [*world.send(12, "north"), *world.send(12, "south")]
        assert {each["route"] for each in well} == {"automatic"}
        assert {each["review"] for each in well} == {None}, "no caller can tell what is audited"
        world.read()
        services.eventually(lambda: red("north")["pending"] == red("south")["pending"] == 0)
        drawn = {each.id for each in predictions(tmp_path) if each.drawn}
        assert red("north")["audits"] + red("south")["audits"] == len(drawn)

        # At the north red goes bad. The gateway dies while people read, and again just before Redis loses everything.
        bad = world.send(40, "north", "red", "blue")
        assert {each["route"] for each in bad} == {"automatic"}
        world.read(most=5)
        gateway.process.kill()
        gateway.start()
        world.read()
        services.eventually(lambda: red("north")["state"] == "suspended")
        first = red("north")
        assert (first["by"], first["epoch"]) == ("monitor", 1)
        gateway.process.kill()
        with Redis.from_url(valkey.url) as redis:
            redis.flushall()
        gateway.start()
        listener = Listener(gateway.url)
        assert red("north")["state"] == "suspended"

        # Everybody who was answered meanwhile is told, and where people decide otherwise, corrected.
        services.eventually(lambda: world.read() == 0 and ids(bad) <= listener.of("recall"))
        services.eventually(lambda: world.read() == 0 and listener.of("correction") == ids(bad))
        assert not listener.of("recall") & ids(well[12:]), "the other site's answers are not in doubt"

        # Its images reach people; the other class and the other site go on answering.
        assert world.send(1, "north")[0]["reasons"] == ["none_fired", "class_suspended"]
        assert world.send(1, "north", "green")[0]["route"] == "automatic"
        assert {each["route"] for each in world.send(3, "south")} == {"automatic"}

        # The images are good again, and a test whose size was fixed at the suspension gives the class back.
        needed = first["test"]["needed"]
        sent = world.send(needed, "north")
        assert {each["route"] for each in sent} == {"review"}
        world.read()
        services.eventually(lambda: red("north")["state"] == "answering")
        assert red("north")["epoch"] == 2
        assert world.send(1, "north")[0]["route"] == "automatic"
        assert red("south")["epoch"] == 0
        told = http.get("/metrics").text
        assert 'triage_audits_total{class="red",project="default",result="right",site="north"}' in told

    catalog = Catalog(tmp_path)
    assert [each.id for each in predictions(tmp_path) if not explain(each, catalog).agrees] == []
    result = CliRunner().invoke(secondreader.main, ["recall", "--data", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    (recall,) = json.loads(result.output)
    became = {each["prediction"]: each["became"] for each in recall["predictions"]}
    assert (recall["site"], recall["label"], recall["recall"]) == ("north", "red", first["recall"])
    assert {became[each] for each in ids(bad)} == {"corrected"}
    assert set(became.values()) <= {"corrected", "confirmed"}


def predictions(data: Path) -> list[PredictionRecord]:
    return [
        record for node in nodes(data / "journal") for _, record in read(node) if isinstance(record, PredictionRecord)
    ]
