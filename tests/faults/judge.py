"""Whether the service kept its word: everything that was acknowledged is in the journal, is found, and stands there once."""

from __future__ import annotations

import hashlib
import time
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

_HEARD_S = 20.0
"""Within which a listener hears of what is published."""


@dataclass
class Judgement:
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    predictions: int = 0
    verdicts: int = 0
    amendments: int = 0


def judge(world: World, ledger: Ledger) -> Judgement:
    """To be asked when the world is at rest; waits for the listener only."""
    deadline = time.monotonic() + _HEARD_S
    while (found := _judged(world, ledger)).lost and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _judged(world: World, ledger: Ledger) -> Judgement:
    found = Judgement(predictions=len(ledger.images), verdicts=len(ledger.verdicts), amendments=len(ledger.amended))
    records = [record for folder in world.journals for node in nodes(folder) for _, record in read(node)]
    verdicts = [record for record in records if isinstance(record, VerdictRecord)]
    newest: dict[str, int] = defaultdict(int)
    for verdict in verdicts:
        newest[verdict.prediction] = max(newest[verdict.prediction], verdict.revision)
    _predictions(world, ledger, records, newest, found)
    _verdicts(ledger, records, verdicts, found)
    _outcomes(world, ledger, newest, found)
    return found


def _predictions(world: World, ledger: Ledger, records: list[Record], newest: dict[str, int], found: Judgement) -> None:
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
            blob = world.blobs / record.project / record.site / sha256
            if not blob.exists() or hashlib.sha256(blob.read_bytes()).hexdigest() != sha256:
                found.lost.append(f"the image of {prediction} is not stored")
            reply = http.get(f"{world.urls[number % len(world.urls)]}/v1/predictions/{prediction}")
            final = reply.json()["final"] if reply.status_code == 200 else None
            if final is None:
                found.lost.append(f"GET {prediction} says {reply.status_code} {reply.text[:200]}")
            elif final["by"] == "people" and final["revision"] != newest[prediction]:
                found.lost.append(f"GET {prediction} shows another revision than {newest[prediction]}: {final}")


def _verdicts(ledger: Ledger, records: list[Record], verdicts: list[VerdictRecord], found: Judgement) -> None:
    editions: dict[str, dict[int, set[tuple[str, str]]]] = defaultdict(lambda: defaultdict(set))
    by_item: dict[str, set[str]] = defaultdict(set)
    for verdict in verdicts:
        item = verdict.item or verdict.prediction
        by_item[item].add(verdict.id)
        editions[item][verdict.revision].add((verdict.reviewer, repr(verdict.answers)))
    for item, ids in ledger.verdicts.items():
        if not ids & by_item[item]:
            found.lost.append(f"the verdict on {item} is not in the journal")
        if len(ledger.answered[item]) > 1:
            found.doubled.append(f"{item} was answered by {sorted(ledger.answered[item])}")
    for item, revision in ledger.amended.items():
        if revision not in editions[item]:
            found.lost.append(f"the amendment of {item} is not in the journal")
    found.doubled += [f"{item} has the verdicts {sorted(ids)}" for item, ids in by_item.items() if len(ids) > 1]
    found.doubled += [
        f"{item} has in revision {revision} the words {sorted(words)}"
        for item, each in editions.items() for revision, words in each.items() if len(words) > 1
    ]  # fmt: skip
    asked = {record.id for record in records if isinstance(record, PredictionRecord) and record.route == "review"}
    answered_by_model = {
        record.id for record in records if isinstance(record, PredictionRecord) and record.route == "automatic"
    }
    for item in asked - answered_by_model - by_item.keys():
        found.lost.append(f"nobody was asked about {item}")


def _outcomes(world: World, ledger: Ledger, newest: dict[str, int], found: Judgement) -> None:
    """Each revision of a final was published once, the newest among them, and was heard, always in the same words."""
    with world.redis() as redis:
        entries: Any = redis.xrange(f"sr:{{{QUEUE}}}:outcomes")
    told: Counter[tuple[str, int]] = Counter()
    finals: Counter[str] = Counter()
    for _, fields in entries:
        body = msgspec.json.decode(fields[b"outcome"])
        if body["type"] in ("final", "correction"):
            told[body["prediction"], body["final"]["revision"]] += 1
            finals[body["prediction"]] += body["type"] == "final"
    found.doubled += [f"{name} was published {count} times" for name, count in told.items() if count > 1]
    found.doubled += [f"{name} has {count} finals" for name, count in finals.items() if count > 1]
    found.doubled += [f"{name} was told as {sorted(words)}" for name, words in ledger.heard.items() if len(words) > 1]
    for prediction in newest.keys() & ledger.images.keys():
        edition = prediction, newest[prediction]
        if edition not in told:
            found.lost.append(f"the final {edition} was told to nobody")
    found.lost += [f"the final {edition} was not heard" for edition in told.keys() - ledger.heard.keys()]
