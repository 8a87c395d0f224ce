"""The one place where the parts of a gateway are made, each from those before it, and set going."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

from triage.access import opening
from triage.answering import Answering
from triage.archive.background import Archiving, newest_archived
from triage.auditing.auditor import Auditor
from triage.auditing.recall import Recalls
from triage.auditing.suspensions import Suspensions
from triage.calling.calls import Calls
from triage.casework import Casework
from triage.changes import Changes
from triage.classifier.inprocess import InProcessClassifier
from triage.classifier.torchserve import TorchServeClassifier
from triage.control.catalog import Catalog
from triage.control.sites import Control
from triage.desk import Desk
from triage.errors import SettingsError, TriageError, Unavailable
from triage.golding import Golding
from triage.index.announcing import Announcing
from triage.index.cases import RedisCases
from triage.index.fold import Index
from triage.index.reviews import RedisReviews
from triage.index.whole import Whole
from triage.intake import Intake
from triage.journal.segments import SegmentJournal
from triage.metrics import Metrics
from triage.outcomes.hub import Hub
from triage.outcomes.ledger import Ledger
from triage.outcomes.sending import Secrets, Sender
from triage.outcomes.streams import Streams
from triage.outcomes.webhooks import Webhooks
from triage.parts import Parts
from triage.people import Logged, People
from triage.ports import Classifier
from triage.recorder import Recorder
from triage.recovery.adopting import Adopting
from triage.recovery.past import ArchivedPast
from triage.returning import Returning
from triage.settings import Settings
from triage.shadowing import Shadowing
from triage.slipping import Slipping
from triage.store.audit_key import audit_key
from triage.store.opening import open_blobs, open_documents
from triage.sweeping import Sweeping

log = logging.getLogger(__name__)
_CAUGHT_UP_S = 2.0
FOLLOW_S = 0.8
"""Between looks at the control documents: with the look itself less than the second within which every replica follows."""


async def start(settings: Settings, metrics: Metrics, stack: AsyncExitStack) -> Parts:
    """What is opened is closed with the stack. Raises SettingsError."""
    catalog = Catalog(settings.data, settings.trusted_folder)
    sites = Control(open_documents(settings.control_place), catalog, settings.source_fields)
    try:
        sites.poll()
    except Unavailable as error:  # nobody would come in, and nothing is known of any site
        raise SettingsError(f"{settings.control_place}: {error}") from None
    entrance = opening.entrance_of(settings)
    stack.push_async_callback(entrance.close)
    entrance.know(sites.of("key"), sites.service("access"), sites.unread("key"))
    opening.check(settings, entrance)

    journal = SegmentJournal(
        settings.journal_folder,
        settings.node,
        settings.segment_bytes,
        metrics.fsync_seconds.observe,
        settings.segment_seconds,
    )
    journal.start(await asyncio.to_thread(newest_archived, settings.log_place, settings.node))
    stack.callback(journal.close)
    blobs = open_blobs(settings.blob_place)
    stack.callback(blobs.close)
    reviews = RedisReviews(settings.redis_url, settings.redis_timeout_s)
    stack.push_async_callback(reviews.close)
    classifier = _classifier(settings, metrics)
    stack.push_async_callback(classifier.close)
    index = Index(reviews, catalog, settings.suggestions, settings.retention_s)
    past = ArchivedPast(settings.log_place, settings.journal_folder, settings.node)
    recorder = Recorder(journal, index, reviews, settings.node, metrics, past)

    key = audit_key(settings.control_place)
    stale_s = settings.control_stale_s
    cases = RedisCases(reviews, settings.retention_s)
    shadowing = Shadowing(classifier, recorder, metrics, key)
    stack.push_async_callback(shadowing.close)
    intake = Intake(sites, classifier, blobs, recorder, metrics, stale_s, settings.suggestions, key, cases, shadowing)
    casework = Casework(sites, cases, recorder, intake, stale_s, key)
    answering = Answering(sites, reviews, index, recorder, metrics, settings.hold_s)
    desk = Desk(sites, reviews, answering, Slipping(sites, reviews, key), settings.lease_s)
    sweeping = Sweeping(sites, reviews, desk, answering, recorder, metrics)
    reading_people = People(sites, Logged(settings.log_place, settings.journal_folder))
    golding = Golding(sites, reviews, index, intake)
    returning = Returning(reviews, intake, recorder)
    recalls = Recalls(settings.journal_folder, settings.node, catalog, recorder, settings.log_place)
    suspensions = Suspensions(sites, recorder, recalls, stale_s)
    auditor = Auditor(sites, reviews, recorder, suspensions, metrics, settings.data / "thresholds")

    stopping = asyncio.Event()
    hub = Hub(Streams(reviews), stopping)
    changes = Changes(sites, recorder)
    sender = Sender(settings.webhook_hosts, Secrets(settings.webhook_secret_folder))
    stack.push_async_callback(sender.close)
    webhooks = Webhooks(
        sites, hub, Ledger(reviews), sender, recorder, changes, metrics, settings.node, settings.retention_s
    )
    stack.push_async_callback(webhooks.close)
    calls = Calls.open(settings, metrics, reviews, recorder, classifier, blobs)

    archiving = Archiving(
        settings.journal_folder,
        settings.log_place,
        settings.node,
        settings.journal_keep_s,
        lambda: recorder.indexed,
        metrics,
        house={
            "blobs": settings.blob_place, "control": settings.control_place, "redis": settings.redis_url,
            "timeout_s": settings.redis_timeout_s,
        },
    )  # fmt: skip
    adopting = Adopting(settings.journal_folder, settings.node, settings.log_place, index, reviews, archiving)

    reviews.whole = whole = Whole(reviews, settings.node, recorder.holds, metrics.waits_for)
    # What is left of the index is served while the rest is made; a moment is enough for most starts to begin whole.
    _begin(stack, _forever(recorder.step, 0.25))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(recorder.caught_up.wait(), _CAUGHT_UP_S)
    parts = Parts(
        settings=settings, metrics=metrics, entrance=entrance,
        control=sites, changes=changes, journal=journal, blobs=blobs, reviews=reviews,
        recorder=recorder, intake=intake, desk=desk, sweeping=sweeping, answering=answering, golding=golding,
        people=reading_people, suspensions=suspensions, casework=casework, calls=calls, hub=hub, webhooks=webhooks,
        stopping=stopping,
    )  # fmt: skip
    _begin(stack, calls.finals.run(stopping))
    _follow(stack, parts)
    for step, seconds in (
        (whole.step, 0.5),
        (sweeping.step, 0.5),
        (answering.step, 0.25),
        (returning.step, 0.5),
        (casework.step, 0.5),
        (auditor.step, 0.5),
        (hub.step, 0.1),
        (webhooks.step, 0.5),
        (archiving.step, 2.0),
        (adopting.step, 15.0),
    ):
        _begin(stack, _forever(step, seconds))
    return parts


def _classifier(settings: Settings, metrics: Metrics) -> Classifier:
    if settings.classifier == "torchserve":
        return TorchServeClassifier(
            settings.torchserve_url, settings.classify_timeout_s, settings.classifier_requests, settings.max_in_flight,
            metrics,
        )  # fmt: skip
    return InProcessClassifier(settings.provider, settings.threads, metrics)


def _follow(stack: AsyncExitStack, parts: Parts) -> None:
    """The control documents: looked at when another gateway tells of a change, and now and then."""
    control, metrics, settings = parts.control, parts.metrics, parts.settings
    # A thread of its own: simulations and decoding fill the pool that the others share, and a poll that stands in line there
    # for longer than `control_stale_s` sends every image to people.
    polling = ThreadPoolExecutor(1, thread_name_prefix="control")
    stack.callback(polling.shutdown)
    loop = asyncio.get_running_loop()

    async def poll() -> None:
        await loop.run_in_executor(polling, control.poll)
        parts.learn()
        for site in control.sites:
            if site.bundle:
                manifest = site.bundle.manifest
                metrics.model_info.labels(manifest.name, manifest.version, site.bundle.digest[:19]).set(1)

    async def judge() -> None:
        await asyncio.to_thread(control.judge)

    announcing = Announcing(settings.redis_url, settings.redis_timeout_s, parts.reviews)

    def announce() -> None:
        loop.call_soon_threadsafe(announcing.soon)

    control.announce = announce
    _begin(stack, announcing.run())
    _begin(stack, _forever(poll, FOLLOW_S, announcing.wait))
    _begin(stack, _forever(judge, 5.0))


def _begin(stack: AsyncExitStack, background: Coroutine[None, None, None]) -> None:
    """Ends with the stack."""
    stack.push_async_callback(_ended, asyncio.create_task(background))


async def _forever(
    step: Callable[[], Awaitable[object]], seconds: float, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Runs a background step for the life of the gateway; a failure is logged and the next turn tries again."""
    while True:
        try:
            await step()
        except TriageError as error:
            log.info("background step waits", extra={"step": step.__qualname__, "why": str(error)})
        except Exception:
            log.exception("background step failed", extra={"step": step.__qualname__})
        await pause(seconds)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
