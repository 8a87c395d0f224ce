"""A gateway's parts without HTTP and without background tasks, so that a test decides when each step is taken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from model_store.bundle import Bundle
from model_store.prediction import Prediction
from model_store.record import PredictionRecord, Record
from tests.bundles import picture
from tests.services import Data
from triage.answering import Answering
from triage.casework import Casework
from triage.classifier.inprocess import InProcessClassifier
from triage.control.catalog import Catalog
from triage.control.sites import Control
from triage.desk import Desk
from triage.errors import ClassifierUnavailable
from triage.index.cases import RedisCases
from triage.index.fold import Index
from triage.index.reviews import RedisReviews
from triage.intake import Intake, Request
from triage.journal.segments import SegmentJournal, read
from triage.metrics import Metrics
from triage.ports import Classifier
from triage.recorder import Recorder
from triage.returning import Returning
from triage.shadowing import Shadowing
from triage.slipping import Slipping
from triage.store.audit_key import audit_key
from triage.store.blobs import LocalBlobs
from triage.store.documents import LocalDocuments
from triage.sweeping import Sweeping

QUEUE = "default.review"


@dataclass
class Switched:
    """A real classifier behind a switch: `fault` is raised instead of an answer for as long as it is set."""

    inner: Classifier
    fault: Exception | None = None
    graph: str | None = None
    """Said to have answered, as a server does that was given another archive."""
    asked: int = 0

    async def classify(self, image: bytes, model: Bundle) -> Prediction:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        answered = await self.inner.classify(image, model)
        return replace(answered, graph=self.graph) if self.graph else answered

    async def close(self) -> None:
        await self.inner.close()

    def away(self) -> None:
        self.fault = ClassifierUnavailable("switched off by the test")

    def back(self) -> None:
        self.fault = None


@dataclass
class Wired:
    """Every part, open."""

    data: Data
    metrics: Metrics
    control: Control
    journal: SegmentJournal
    blobs: LocalBlobs
    reviews: RedisReviews
    classifier: Switched
    index: Index
    recorder: Recorder
    intake: Intake
    desk: Desk
    sweeping: Sweeping
    answering: Answering
    returning: Returning
    cases: RedisCases
    casework: Casework
    sent: list[dict[str, Any]] = field(default_factory=list)

    async def predict(self, colour: str = "red", salt: int = 0, **about: Any) -> dict[str, Any]:
        reply = await self.intake.predict(picture(colour, salt=salt), Request(**about))
        view: dict[str, Any] = msgspec.json.decode(reply)
        self.sent.append(view)
        return view

    async def outcomes(self) -> list[dict[str, Any]]:
        """What the outcome stream says, from its beginning."""
        return [msgspec.json.decode(body) for _, body in await self.reviews.outcomes(QUEUE, "0", 10_000)]

    def journaled(self) -> list[Record]:
        return [record for _, record in read(self.journal.folder)]

    def predictions(self) -> list[PredictionRecord]:
        return [record for record in self.journaled() if isinstance(record, PredictionRecord)]


@asynccontextmanager
async def wired(
    data: Data, redis_url: str, node: str = "test", timeout_s: float = 5.0, segment_bytes: int = 64 * 2**20
) -> AsyncIterator[Wired]:
    metrics, catalog = Metrics(), Catalog(data.folder)
    control = Control(LocalDocuments(data.folder / "control"), catalog)
    control.poll()
    journal = SegmentJournal(data.folder / "journal", node, segment_bytes, metrics.fsync_seconds.observe)
    journal.start()
    blobs = LocalBlobs(data.folder / "blobs")
    reviews = RedisReviews(redis_url, timeout_s)
    classifier = Switched(InProcessClassifier("cpu", 1, metrics))
    index = Index(reviews, catalog, 5, 3600)
    recorder = Recorder(journal, index, reviews, node, metrics)
    key, cases = audit_key(data.folder / "control"), RedisCases(reviews, 3600)
    shadowing = Shadowing(classifier, recorder, metrics, key)
    intake = Intake(control, classifier, blobs, recorder, metrics, 10.0, 5, key, cases, shadowing)
    casework = Casework(control, cases, recorder, intake, 10.0, key)
    answering = Answering(control, reviews, index, recorder, metrics, 0.0)
    desk = Desk(control, reviews, answering, Slipping(control, reviews, key), 60)
    sweeping = Sweeping(control, reviews, desk, answering, recorder, metrics)
    returning = Returning(reviews, intake, recorder)
    await recorder.step()
    try:
        yield Wired(
            data,
            metrics,
            control,
            journal,
            blobs,
            reviews,
            classifier,
            index,
            recorder,
            intake,
            desk,
            sweeping,
            answering,
            returning,
            cases,
            casework,
        )
    finally:
        await classifier.close()
        await reviews.close()
        blobs.close()
        journal.close()
