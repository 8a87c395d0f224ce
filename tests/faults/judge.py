"""Whether the service kept its word: everything that was acknowledged is in the journal, is found, and stands there once."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from model_store.record import PredictionRecord, Record, VerdictRecord
from tests.faults.ledger import Ledger
from tests.faults.load import QUEUE
from tests.faults.world import World
from triage.journal.segments import nodes, read


@dataclass
class Judgement:
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    predictions: int = 0
    verdicts: int = 0


def judge(world: World, ledger: Ledger) -> Judgement:
    """To be asked when nothing is in flight any more and the queue is empty."""
    found = Judgement(predictions=len(ledger.images), verdicts=len(ledger.verdicts))
    records = [record for node in nodes(world.journal) for _, record in read(node)]
    _predictions(world, ledger, records, found)
    _verdicts(ledger, records, found)
    _outcomes(world, ledger, records, found)
    return found


def _predictions(world: World, ledger: Ledger, records: list[Record], found: Judgement) -> None:
    journaled = {record.id: record for record in records if isinstance(record, PredictionRecord)}
    for key, ids in ledger.predictions.items():
        if len(ids) > 1:
            found.doubled.append(f"{key} was answered as {sorted(ids)}")
    with httpx.Client(trust_env=False, timeout=30) as http:
        for number, (prediction, sha256) in enumerate(ledger.images.items()):
            record = journaled.get(prediction)
            if record is None or record.sha256 != sha256:
                found.lost.append(f"prediction {prediction} is not in the journal")
                continue
            blob = world.folder / "blobs" / record.project / record.site / sha256
            if not blob.exists() or hashlib.sha256(blob.read_bytes()).hexdigest() != sha256:
                found.lost.append(f"the image of {prediction} is not stored")
            reply = http.get(f"{world.urls[number % len(world.urls)]}/v1/predictions/{prediction}")
            if reply.status_code != 200 or reply.json()["final"] is None:
                found.lost.append(f"GET {prediction} says {reply.status_code} {reply.text[:200]}")


def _verdicts(ledger: Ledger, records: list[Record], found: Judgement) -> None:
    by_item: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if isinstance(record, VerdictRecord):
            by_item[record.item or record.prediction].add(record.id)
    for item, ids in ledger.verdicts.items():
        if not ids & by_item[item]:
            found.lost.append(f"the verdict on {item} is not in the journal")
        if len(ledger.answered[item]) > 1:
            found.doubled.append(f"{item} was answered by {sorted(ledger.answered[item])}")
    found.doubled += [f"{item} has the verdicts {sorted(ids)}" for item, ids in by_item.items() if len(ids) > 1]
    asked = {record.id for record in records if isinstance(record, PredictionRecord) and record.route == "review"}
    answered_by_model = {
        record.id for record in records if isinstance(record, PredictionRecord) and record.route == "automatic"
    }
    for item in asked - answered_by_model - by_item.keys():
        found.lost.append(f"nobody was asked about {item}")


def _outcomes(world: World, ledger: Ledger, records: list[Record], found: Judgement) -> None:
    """Each prediction that people were asked about has one final, however often it was told."""
    with world.redis() as redis:
        entries: Any = redis.xrange(f"sr:{{{QUEUE}}}:outcomes")
    told: dict[str, Counter[int]] = defaultdict(Counter)
    for _, fields in entries:
        body = msgspec.json.decode(fields[b"outcome"])
        if body["type"] in ("final", "correction"):
            told[body["prediction"]][body["final"]["revision"]] += 1
    for prediction, revisions in told.items():
        if len(revisions) > 1:
            found.doubled.append(f"{prediction} has the finals {dict(revisions)}")
    reviewed = {record.prediction for record in records if isinstance(record, VerdictRecord)}
    for prediction in reviewed & ledger.images.keys() - told.keys():
        found.lost.append(f"the final of {prediction} was told to nobody")
