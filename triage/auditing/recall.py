"""Recalls: the automatic answers that are in doubt because their class was suspended, listed one by one in the journal.

Every answer with the class at the site under its rule that came after the last good evidence becomes an event `recalled`,
whose id follows from recall and prediction. A turn that was cut off goes on where the journal ends, and two gateways at once
write the same events, which count once. A gateway sweeps its own journal twice: at the suspension, and when it must have known
of it, for what it answered in between; and later, where it sees them, the journals of gateways that are gone.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store.errors import ModelStoreError
from model_store.record import EventRecord, PredictionRecord, Record, VerdictRecord
from triage.archive.history import History
from triage.archive.layout import SEGMENTS, marked
from triage.control.catalog import Catalog
from triage.ids import derived_id, now_us
from triage.index.audit_fold import RECALLED
from triage.journal.reading import nodes
from triage.promise.claims import certified, is_absence, label_of
from triage.promise.releases import watched_as
from triage.promise.standing import MONITOR, Recall
from triage.recorder import Recorder
from triage.store.places import open_objects

_AT_ONCE = 256


@dataclass(frozen=True)
class Doubt:
    """One claim's answers at a site."""

    project: str
    site: str
    label: str
    recall: Recall
    queue: str = ""
    """Where its answers are read again; empty: in the project's own."""


class Recalls:
    """Carries recalls out. One object for the life of the gateway."""

    def __init__(
        self, journal_folder: Path, node: str, catalog: Catalog, recorder: Recorder, log: str | None = None
    ) -> None:
        self.node = node
        self._folder = journal_folder
        self._log = log
        self._catalog = catalog
        self._recorder = recorder

    def nodes(self) -> set[str]:
        """The nodes whose journals are seen from here."""
        archived = (marked(entry.name) for entry in open_objects(self._log).list(SEGMENTS)) if self._log else ()
        return {self.node, *(folder.name for folder in nodes(self._folder)), *(each.node for each in archived if each)}

    async def sweep(self, doubt: Doubt, of: Collection[str], limit: int) -> int:
        """Journals what is not journaled yet of these nodes' answers, the newest `limit` to be read again by people; gives back
        how many.

        Raises JournalBroken.
        """
        found = self._fresh(doubt, of, limit)
        count = 0
        while batch := await asyncio.to_thread(lambda: list(itertools.islice(found, _AT_ONCE))):
            await asyncio.gather(*(self._recorder.record(event) for event in batch))
            count += len(batch)
        return count

    def _fresh(self, doubt: Doubt, of: Collection[str], limit: int) -> Iterator[EventRecord]:
        """Two readings of the journals, so that only ids are held and not records."""
        known: set[str] = set()
        newest: list[tuple[int, str]] = []
        for node, record in since(self._folder, doubt.recall.after, self._log):
            if isinstance(record, EventRecord) and record.name == RECALLED:
                if record.detail["recall"] == doubt.recall.id:
                    known.add(record.subject)
            elif isinstance(record, PredictionRecord) and (node in of or not node) and self._doubtful(record, doubt):
                if doubt.label not in record.drawn:
                    heapq.heappush(newest, (record.received_at, record.id))
                if len(newest) > limit:
                    heapq.heappop(newest)
        to_read = {prediction for _, prediction in newest}
        for node, record in since(self._folder, doubt.recall.after, self._log):
            if not isinstance(record, PredictionRecord) or (node and node not in of) or record.id in known:
                continue
            if self._doubtful(record, doubt):
                known.add(record.id)
                yield _event(record, doubt, to_read)

    def _doubtful(self, record: PredictionRecord, doubt: Doubt) -> bool:
        claimed = record.absent if is_absence(doubt.label) else record.fires
        if record.route != "automatic" or label_of(doubt.label) not in claimed:
            return False
        if (record.project, watched_as(record)) != (
            doubt.project,
            doubt.site,
        ) or record.received_at <= doubt.recall.after:
            return False
        try:
            proof = certified(self._catalog.recorded(record.rules)).get(doubt.label)
        except ModelStoreError:
            return True  # nobody can tell any more under which rule it was answered
        return proof is None or proof.rule == doubt.recall.rule


def since(journal_folder: Path, after: int, log: str | None = None) -> Iterator[tuple[str, Record]]:
    """Records with their nodes, empty for what was merged in the archive; parts from before a moment are left out."""
    history = History(open_objects(log or journal_folder / "no archive"), journal_folder)
    for part in history.parts(after=after):
        for _, record in history.read(part, without=("embedding", "probability")):
            yield part.node, record


def _event(record: PredictionRecord, doubt: Doubt, to_read: set[str]) -> EventRecord:
    # What was drawn is read, or was, by the audit's own two readers.
    read = "audit" if doubt.label in record.drawn else "now" if record.id in to_read else "no"
    detail = {
        "recall": doubt.recall.id, "label": doubt.label, "labels": " ".join(record.fires), "sha256": record.sha256,
        "received_at": str(record.received_at), "revision": str(record.revision), "read": read,
    }  # fmt: skip
    if doubt.queue:
        detail["queue"] = doubt.queue
    return EventRecord(
        id=derived_id(RECALLED, doubt.recall.id, record.id), name=RECALLED, project=record.project, site=record.site,
        subject=record.id, actor=MONITOR, detail=detail if record.case is None else {**detail, "case": record.case},
        at=now_us(),
    )  # fmt: skip


def listing(journal_folder: Path, log: str | None = None) -> list[dict[str, Any]]:
    """Every recall in the journals, oldest first, with its predictions and what became of each:

    `waits` for a reader · `doubted` by one, the second is asked · `confirmed` · `corrected` · `listed`, nobody was asked
    """
    recalls: dict[str, dict[str, Any]] = {}
    became: dict[str, VerdictRecord] = {}
    found: dict[tuple[str, str], EventRecord] = {}
    for _, record in since(journal_folder, 0, log):
        if isinstance(record, EventRecord) and record.name == RECALLED:
            found[record.detail["recall"], record.subject] = record
    subjects = {prediction for _, prediction in found}
    for _, record in since(journal_folder, 0, log):
        if isinstance(record, VerdictRecord) and record.prediction in subjects:
            before = became.get(record.prediction)
            if before is None or (record.corrects, record.at) > (before.corrects, before.at):
                became[record.prediction] = record
    for (recall, prediction), event in sorted(found.items(), key=lambda each: int(each[1].detail["received_at"])):
        entry = recalls.setdefault(
            recall, {"recall": recall, "project": event.project, "site": event.site, "label": event.detail["label"],
                     "at": event.at, "predictions": []},
        )  # fmt: skip
        entry["at"] = min(entry["at"], event.at)
        entry["predictions"].append(
            {"prediction": prediction, "received_at": int(event.detail["received_at"]), "case": event.detail.get("case"),
             "sha256": event.detail["sha256"], "labels": event.detail["labels"].split(),
             "became": _became(event, became.get(prediction))}
        )  # fmt: skip
    return sorted(recalls.values(), key=lambda each: int(each["at"]))


def _became(event: EventRecord, verdict: VerdictRecord | None) -> str:
    if verdict is None:
        return "listed" if event.detail["read"] == "no" else "waits"
    if verdict.corrects:
        return "corrected"
    open_still = verdict.reading == 1 and event.detail["label"] in verdict.doubts and verdict.second_reader
    return "doubted" if open_still else "confirmed"
