"""Challengers in the shadow: they read a share of the images after the caller was answered, and what they would have said is
journaled. Nothing waits for them, and they are the first to be dropped when there is no room."""

from __future__ import annotations

import asyncio
import logging

from model_store.errors import ImageError
from model_store.record import PredictionRecord, ShadowRecord
from triage.control.canary import challenger_of
from triage.control.opened_site import Site
from triage.deciding import decided
from triage.errors import TriageError
from triage.ids import now_us
from triage.metrics import Metrics
from triage.ports import Classifier
from triage.promise.releases import chosen
from triage.recorder import Recorder

log = logging.getLogger(__name__)
AT_ONCE = 8
"""Images that challengers read at once; more are dropped and counted."""


class Shadowing:
    """One object for the life of the gateway."""

    def __init__(self, classifier: Classifier, recorder: Recorder, metrics: Metrics, key: bytes) -> None:
        self._classifier = classifier
        self._recorder = recorder
        self._metrics = metrics
        self._key = key
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, image: bytes, record: PredictionRecord, site: Site) -> None:
        """Has the site's challenger read an image that the champion answered for, if it is in its share and there is room."""
        tried = site.challenger
        if tried is None or not chosen(self._key, tried.share, record.site, record.id, record.case):
            return
        if len(self._tasks) >= AT_ONCE:
            self._metrics.shadows.labels(record.project, record.site, "dropped").inc()
            return
        challenger = challenger_of(site)
        assert challenger is not None
        task = asyncio.create_task(self._read(image, record, challenger))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """What was begun is not waited for: nobody was promised it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self, image: bytes, record: PredictionRecord, challenger: Site) -> None:
        assert challenger.bundle is not None
        result = "failed"
        try:
            scores = await self._classifier.classify(image, challenger.bundle)
            found = decided(record, challenger, scores, control_stale=record.policy.control_stale, audit_key=self._key)
            if found.policy.available:
                await self._recorder.record(_shadow(found))
                result = "recorded"
        except (ImageError, TriageError) as error:
            log.info("a challenger did not read", extra={"prediction": record.id, "why": str(error)})
        finally:
            self._metrics.shadows.labels(record.project, record.site, result).inc()


def _shadow(said: PredictionRecord) -> ShadowRecord:
    return ShadowRecord(
        id=said.id, project=said.project, site=said.site, model=said.model, graph=said.graph, bundle=said.bundle,
        rules=said.rules, provider=said.provider, precision=said.precision, heads=said.heads,
        probability=said.probability, typicality=said.typicality, fires=said.fires, absent=said.absent,
        route=said.route, reasons=said.reasons, at=now_us(),
    )  # fmt: skip
