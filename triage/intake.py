"""One image in, one prediction out: header, blob and model in parallel, decision, journal, index, reply.

Whatever goes wrong with the model ends in front of a person. Only the image's own faults, a full service and a journal that
cannot be written are refused; a refusal leaves no blob and no queue item.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import time
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from model_store import VERSION
from model_store import decode as decoder
from model_store.errors import ImageError
from model_store.prediction import Prediction
from model_store.record import EventRecord, PolicySnapshot, PredictionRecord
from triage import answers, tracing
from triage.control.opened_site import Site
from triage.control.sites import Control
from triage.deciding import decided
from triage.errors import ClassifierUnavailable, IndexAway, Invalid, NotFound
from triage.ids import new_id, now_us
from triage.index.cases import RedisCases
from triage.metrics import Metrics, Stage
from triage.ports import Blobs, Classifier
from triage.promise.drift import Recent
from triage.promise.releases import chosen
from triage.recorder import Recorder
from triage.reviewing.routing import routed
from triage.shadowing import Shadowing


@dataclass(frozen=True)
class Request:
    """What a caller sent beside the image."""

    project: str = "default"
    site: str = "default"
    case: str | None = None
    view: str | None = None
    role: Literal["current", "prior"] = "current"
    source: dict[str, str] | None = None
    caller: str = ""
    """Subject of whoever sent it."""
    trace: str = ""
    """W3C trace id."""
    person: str = ""
    """Keyed hash of whom the image is of."""
    prediction_id: str = ""
    """Known before, where the caller named an idempotency key."""
    deadline: float | None = None
    """Moment of `time.monotonic()` after which the caller does not wait: the model is not waited for any longer either."""
    origin: Literal["http", "v2", "backfill"] = "http"


@dataclass(frozen=True)
class Read:
    """What became of one image."""

    record: PredictionRecord
    told: answers.Told


class Intake:
    """Reads, decides, records. One object for the life of the gateway."""

    def __init__(
        self, control: Control, classifier: Classifier, blobs: Blobs, recorder: Recorder, metrics: Metrics,
        stale_s: float, suggestions: int, audit_key: bytes, cases: RedisCases,
        shadowing: Shadowing,
    ) -> None:  # fmt: skip
        self._control = control
        self._classifier = classifier
        self._blobs = blobs
        self._recorder = recorder
        self._metrics = metrics
        self._stale_s = stale_s
        self._suggestions = suggestions
        self._audit_key = audit_key
        self._cases = cases
        self._took = functools.partial(metrics.stage, "blob")
        self._shadowing = shadowing
        self.recent = Recent()

    async def predict(self, image: bytes, request: Request) -> bytes:
        """The prediction as callers see it, JSON. Raises ImageError, NotFound, Unavailable."""
        return (await self.read(image, request)).told.reply()

    async def read(self, image: bytes, request: Request) -> Read:
        """The prediction, recorded. Raises ImageError, NotFound, Invalid, Unavailable."""
        prediction_id, received_at = request.prediction_id or new_id(), now_us()
        site = self._reads(request.project, request.site, prediction_id, request.case)
        if site.document.cases and request.case:
            await self._room(site, request.case, site.document.cases.max_images)
        clock = _Stages(self._metrics)
        try:
            header = decoder.probe(image, site.image)
            sha256 = hashlib.sha256(image).hexdigest()
            clock.mark("receive")
            scores = await self._store_and_classify(
                f"{site.project}/{site.place}/{sha256}", image, site, request.deadline
            )
        except ImageError as error:
            await self._refuse(prediction_id, request, error, received_at)
            raise
        clock.mark("classify")
        record = decided(
            PredictionRecord(
                id=prediction_id, project=site.project, site=site.place, case=request.case, view=request.view,
                role=request.role, received_at=received_at, sha256=sha256, size=len(image), format=header.format,
                width=header.width, height=header.height, source=request.source or {}, code=VERSION,
                route="review", policy=PolicySnapshot(mode=site.mode), caller=request.caller, trace=request.trace,
                person=request.person, origin=request.origin,
            ),
            site, scores, control_stale=self._control.age > self._stale_s, audit_key=self._audit_key,
            case="open" if site.document.cases and request.case else "",
        )  # fmt: skip
        record = routed(record, self._control.of("queue", site.project))
        clock.mark("decide")
        record = _with(record, timings_ms={**record.timings_ms, **clock.so_far()})
        told = answers.told(record, site.labels, site.rules, self._suggestions)
        await self._recorder.record(record, told)
        self.count(record)
        if site.challenger is not None and site.challenger.how == "shadow":
            self._shadowing.offer(image, record, site)
        return Read(record, told)

    def _reads(self, project: str, name: str, prediction_id: str, case: str | None) -> Site:
        """Who reads an image: the site, or its canary. Raises NotFound."""
        site = self._control.site(project, name)
        if site.of is not None:
            raise NotFound(f"{name} is no site but a release of {site.of}; send the image to {site.of}")
        tried = site.challenger
        if (
            tried is None
            or tried.how != "canary"
            or not chosen(self._audit_key, tried.share, name, prediction_id, case)
        ):
            return site
        return self._control.canary(site)

    async def glance(self, image: bytes, project: str, name: str) -> Read:
        """What would become of an image, which is stored; nothing is recorded and nobody is asked.

        Raises ImageError, NotFound, and ClassifierUnavailable where a site's model does not answer.
        """
        site = self._control.site(project, name)
        header, sha256 = decoder.probe(image, site.image), hashlib.sha256(image).hexdigest()
        scores = await self._store_and_classify(f"{project}/{name}/{sha256}", image, site, None)
        record = decided(
            PredictionRecord(
                id=new_id(), project=project, site=name, received_at=now_us(), sha256=sha256, size=len(image),
                format=header.format, width=header.width, height=header.height, route="review",
                policy=PolicySnapshot(mode=site.mode),
            ),
            site, scores, control_stale=False, audit_key=self._audit_key,
        )  # fmt: skip
        if site.bundle is not None and not record.policy.available:
            raise ClassifierUnavailable("the model does not answer; send it again when it does")
        return Read(record, answers.told(record, site.labels, site.rules, self._suggestions))

    async def _room(self, site: Site, case: str, most: int) -> None:
        """Raises Invalid when a case has as many images as it may."""
        with contextlib.suppress(IndexAway):  # then nobody can count, and no image is refused for that
            if await self._cases.size(site.project, site.place, case) >= most:
                raise Invalid(
                    f"the case {case!r} has {most} images already; give this one a case of its own, or raise max_images"
                )

    async def decide_again(self, record: PredictionRecord) -> PredictionRecord:
        """The next revision of a record that the model had not answered.

        Raises ClassifierUnavailable, also when another model answers, ImageError, and NotFound without site, model or image.
        """
        site = self._control.reader_of(record)
        if site.bundle is None:
            raise NotFound(f"the site {record.project}/{record.site} has no model; name one in its document")
        image = await self._blobs.get(f"{record.project}/{record.site}/{record.sha256}")
        scores = await self._classifier.classify(image, site.bundle)
        stale = self._control.age > self._stale_s
        again = decided(record, site, scores, control_stale=stale, audit_key=self._audit_key, case=record.policy.case)
        if not again.policy.available:
            raise ClassifierUnavailable(
                f"{site.document.model} is served with another graph; archive this bundle again"
            )
        self.count(again)
        again = _with(again, revision=record.revision + 1, queue=record.queue, code=VERSION)
        return routed(again, self._control.of("queue", site.project))

    async def _store_and_classify(
        self, key: str, image: bytes, site: Site, deadline: float | None
    ) -> Prediction | None:
        """Scores, or None when the model did not answer; the blob is durable either way. Raises ImageError."""
        put = self._blobs.put(key, image, self._took)
        try:
            scores = await self._classify(image, site, deadline)
        except ImageError:
            # Nobody else's image either: whoever sends these bytes is refused. After any other error the blob stays, since
            # a request that sent the same bytes at the same time may have been promised it.
            if await put:
                await self._blobs.delete(key)
            raise
        await put
        return scores

    async def _classify(self, image: bytes, site: Site, deadline: float | None) -> Prediction | None:
        if site.bundle is not None:
            # A caller whose time is up is told that a person is asked; what it sent is never dropped for that.
            left = None if deadline is None else deadline - time.monotonic()
            with contextlib.suppress(ClassifierUnavailable, TimeoutError):
                if left is None:  # as for most: a time limit that is none costs a few calls all the same
                    return await self._classifier.classify(image, site.bundle)
                async with asyncio.timeout(left):
                    return await self._classifier.classify(image, site.bundle)
        # Nobody has read the pixels yet, and a person cannot review an image that does not open.
        await asyncio.to_thread(decoder.decode, image, site.image)
        return None

    async def _refuse(self, prediction_id: str, request: Request, error: ImageError, at: int) -> None:
        self._metrics.refusals.labels(error.code).inc()
        await self._recorder.record(
            EventRecord(
                id=prediction_id, name="refused", project=request.project, site=request.site,
                subject=request.case or "", actor=request.caller, detail={"code": error.code, "why": str(error)}, at=at,
            )
        )  # fmt: skip

    def count(self, record: PredictionRecord) -> None:
        if record.typicality is not None and record.origin != "backfill":
            self.recent.saw(record.project, record.site, record.typicality)
        self._metrics.decisions.labels(record.project, record.site, record.route).inc()
        for reason in record.reasons:
            self._metrics.reasons.labels(record.site, reason).inc()
        if record.route == "automatic":
            for label in record.fires:
                self._metrics.fired.labels(label).inc()


def _with(record: PredictionRecord, **changes: Any) -> PredictionRecord:
    return msgspec.structs.replace(record, **changes)


class _Stages:
    """Times the stages of one prediction, in ms since it began."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._last = time.perf_counter()
        self._stages: dict[str, float] = {}

    def mark(self, stage: Stage) -> None:
        now = time.perf_counter()
        self._metrics.stage(stage, now - self._last)
        tracing.stage(stage, now - self._last)
        self._stages[stage] = round(1e3 * (now - self._last), 3)
        self._last = now

    def so_far(self) -> dict[str, float]:
        return dict(self._stages)
