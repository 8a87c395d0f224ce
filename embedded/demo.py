"""The demo: the whole way of an image on one machine, on real images, with an account of itself at the end."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import training.certify
import training.recipe
import training.train
from embedded.declare import go_live
from embedded.process import StartError
from embedded.stack import Gateway, Stack
from model_store.bundle import Bundle
from model_store.record import PredictionRecord, Record, VerdictRecord
from model_store.rules import Rules
from training import sample
from training.binomial import upper_bound
from training.images import LabelledImage
from training.recipe import Recipe
from triage.archive.export import export
from triage.client import Client, LeasedItem
from triage.control.catalog import Catalog
from triage.explain import explain
from triage.ids import reading_id
from triage.journal.segments import nodes, read
from triage.store.audit_key import audit_key

CLIENTS = 8
MARK = "made-by-demo.txt"
REVIEWED = 25
REVIEWER, SECOND = "demo reviewer", "second demo reviewer"


def go_on(data: Path) -> str:
    """The commands that serve a demo's folder again."""
    return f'`secondreader up --data {data}`, or `make up ARGS="--data {data}"`'


def rounded_down(bound: float, digits: int) -> float:
    """A lower bound with fewer decimals, which must not promise more."""
    return float(Decimal(repr(bound)).quantize(Decimal(1).scaleb(-digits), ROUND_FLOOR))


@dataclass
class Demo:
    """What has happened so far; `summary` is the account."""

    folder: Path
    say: Any
    seconds: dict[str, float] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=training.recipe.sample)
    bundle: Bundle | None = None
    rules: Rules | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @contextmanager
    def stage(self, name: str, words: str) -> Iterator[None]:
        """Says what happens and keeps how long it took."""
        self.say(f"[bold]{words}[/bold]")
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 1)

    def prepare(self) -> tuple[Bundle, Rules]:
        """Trains and certifies on the shipped sample, afresh."""
        if self.folder.exists() and any(self.folder.iterdir()) and not (self.folder / MARK).exists():
            raise StartError(
                f"{self.folder} is no folder of an earlier demo and would be emptied; choose another --folder"
            )
        if (self.data / "control").exists():
            self.say(f"This replaces the earlier demo in {self.folder}; to go on with one instead: {go_on(self.data)}")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.data.mkdir(parents=True)
        (self.folder / MARK).write_text("Made by `secondreader demo`, which empties this folder when it runs again.\n")
        with self.stage("train", "Training on the shipped sample"):
            self.bundle = training.train.run(self.recipe, self.data).bundle
        with self.stage("certify", "Certifying each class on images the model never saw"):
            self.rules = training.certify.run(self.bundle, self.recipe, self.data)
        return self.bundle, self.rules

    def start(self, stack: Stack) -> Gateway:
        """Valkey, TorchServe, gateway; the site goes live."""
        assert self.bundle is not None
        assert self.rules is not None
        with self.stage("start", "Starting Valkey, TorchServe and the gateway"):
            redis_url = stack.start_redis()
            gateway = stack.start_gateway(redis_url, stack.start_torchserve(self.bundle))
            go_live(gateway.url, self.bundle, self.rules)
        return gateway

    def stream(self, gateway: Gateway, images: list[LabelledImage]) -> list[tuple[LabelledImage, dict[str, Any]]]:
        """Sends a held-out stream; every prediction beside the image it is of."""
        words = f"Sending {len(images):,} images the model never saw, from {CLIENTS} clients"
        with self.stage("stream", words), Client(gateway.url) as client, ThreadPoolExecutor(CLIENTS) as pool:
            predictions = list(pool.map(lambda image: client.predict(image.encoded()), images))
        return list(zip(images, predictions, strict=True))

    def review(self, gateway: Gateway, sent: list[tuple[LabelledImage, dict[str, Any]]]) -> dict[str, Any]:
        """Answers with the truth, as people would: what is read blind, which comes first, then a few items that wait for an
        answer, and sees those become final. What the first reader's word does not confirm a second one reads."""
        answered, readings = list[str](), Counter[str]()
        finals: list[dict[str, Any]] = []
        words = f"Reading the audits, and {REVIEWED} images of the queue"
        with self.stage("review", words), Client(gateway.url) as client:
            for reviewer, wanted in ((REVIEWER, REVIEWED), (SECOND, 0)):
                for item, image in _taken(client, reviewer, sent):
                    if not item.blind and wanted == 0:
                        client.give_back(item)
                        break
                    client.shown(item)
                    client.answer(item, present=sorted(image.present))
                    if item.blind:
                        readings[reviewer] += 1
                    else:
                        wanted -= 1
                        answered.append(item.item)
                # Answers may be taken back for some seconds; then callers hear of them, and second readers are asked.
                finals = [client.prediction(each, wait_s=30)["final"] for each in answered]
        records = self._records()
        audits = {
            "drawn": sum(bool(each.drawn) for each in records if isinstance(each, PredictionRecord)),
            "read": readings[REVIEWER],
            "read_again": readings[SECOND],
            "corrected": sum(each.corrects for each in records if isinstance(each, VerdictRecord)),
        }
        return {"reviewed": sum(final["by"] == "people" for final in finals), "audits": audits}

    def _records(self) -> list[Record]:
        return [record for node in nodes(self.data / "journal") for _, record in read(node)]

    def audit(self, gateway: Gateway, sent: list[tuple[LabelledImage, dict[str, Any]]]) -> dict[str, int]:
        """Looks for every prediction again: through GET, in the exported log, and by deciding it once more."""
        ids = {prediction["id"] for _, prediction in sent}
        with self.stage("audit", "Finding every prediction again, exporting the log, explaining each record"):
            with Client(gateway.url) as client, ThreadPoolExecutor(CLIENTS) as pool:
                found = {each["id"] for each in pool.map(client.prediction, ids)}
            export(self.data / "journal", self.folder / "log")
            logged = set(pq.read_table(self.folder / "log" / "predictions", columns=["id"])["id"].to_pylist())
            catalog = Catalog(self.data)
            records = [record for record in self._records() if isinstance(record, PredictionRecord)]
            key = audit_key(self.data / "control")
            disagree = sum(not explain(record, catalog, key).agrees for record in records)
        return {"lost": len(ids - found) + len(ids - logged), "explained": len(records), "disagreements": disagree}


def _taken(
    client: Client, reviewer: str, sent: list[tuple[LabelledImage, dict[str, Any]]]
) -> Iterator[tuple[LeasedItem, LabelledImage]]:
    """Items of the queue, one after the other, each with the image it is of: a blind one does not name its prediction."""
    images: dict[str, LabelledImage] = {}
    for image, prediction in sent:
        readings = (("audit", 1), ("audit", 2), ("review", 2))
        images |= dict.fromkeys((prediction["id"], *(reading_id(prediction["id"], *each) for each in readings)), image)
    while items := client.lease("default.review", reviewer):
        for item in items:
            if item.item in images:
                yield item, images[item.item]
            else:  # a given Redis may hold what others wait for
                client.skip(item)


def account(demo: Demo, sent: list[tuple[LabelledImage, dict[str, Any]]], extra: dict[str, Any]) -> dict[str, Any]:
    """The summary: what was answered, how well, and what was promised."""
    assert demo.bundle is not None
    assert demo.rules is not None
    automatic = [(image, each) for image, each in sent if each["route"] == "automatic"]
    wrong = [image for image, each in automatic if {label["id"] for label in each["labels"]} != set(image.present)]
    certified = {label: rule for label, rule in demo.rules.classes.items() if rule.certificate}
    seen = {label for image in sample.images("train") for label in image.present}
    never_seen = [image for image, _ in sent if not set(image.present) & seen]
    right = len(automatic) - len(wrong)
    return {
        "images": len(sent),
        "routes": dict(Counter(each["route"] for _, each in sent)),
        "reasons": dict(Counter(reason for _, each in sent for reason in each["reasons"])),
        "automatic_share": round(len(automatic) / len(sent), 4),
        "target": min((rule.certificate.target for rule in certified.values() if rule.certificate), default=None),
        "precision": round(right / len(automatic), 4) if automatic else None,
        "precision_upper_95": round(upper_bound(len(automatic), len(wrong), 0.05), 4) if automatic else None,
        "classes": {
            label: {
                "state": rule.state,
                "threshold": rule.threshold,
                "certified_bound": rounded_down(rule.certificate.bound, 4) if rule.certificate else None,
                "answered": sum(label in {each["id"] for each in view["labels"]} for _, view in automatic),
                "right": sum(
                    label in {each["id"] for each in view["labels"]} and label in image.present
                    for image, view in automatic
                ),
                "lacks": rule.lacks,
            }
            for label, rule in demo.rules.classes.items()
        },
        "never_seen_class": {
            "labels": sorted({label for image in never_seen for label in image.present}),
            "images": len(never_seen),
            "answered_automatically": sum(not set(image.present) & seen for image, _ in automatic),
        },
        **extra,
        "seconds": {**demo.seconds, "total": round(sum(demo.seconds.values()), 1)},
        "model": {"bundle": demo.bundle.digest, "rules": demo.rules.digest},
    }


def write_summary(folder: Path, summary: dict[str, Any]) -> Path:
    path = folder / "summary.json"
    path.write_text(json.dumps(summary, indent=2) + "\n")
    return path
