"""Keeps the promise honest: weighs what the readers say, suspends, recalls, and lets a class earn its way back.

A background step of every gateway; any number of them may run at once and any may die between two lines. Redis only holds the
evidence, which the journal can make again; what is decided lies in the standing document (suspensions.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from model_store.errors import ModelStoreError
from triage.auditing import thresholds
from triage.auditing.suspensions import Suspensions, entry_of
from triage.control.opened_site import Site
from triage.control.sites import Control
from triage.errors import Unavailable
from triage.ids import new_id, now_us
from triage.index.audits import Class, RedisAudits, Stored
from triage.index.reviews import RedisReviews
from triage.metrics import Metrics
from triage.promise import evidence, monitor, standing_changes
from triage.promise.audit_policy import promised
from triage.promise.bets import Promise
from triage.promise.claims import Proof
from triage.promise.evidence import Evidence
from triage.promise.standing import ClassStanding
from triage.recorder import Recorder
from triage.reviewing.item import queue_of

log = logging.getLogger(__name__)
_PAGE = 200
_READY = 1000
_AT_ONCE = 64
_ALL_EVERY_S = 5.0


class Auditor:
    """One object for the life of the gateway; `step` is its background task."""

    def __init__(
        self, control: Control, reviews: RedisReviews, recorder: Recorder, suspensions: Suspensions, metrics: Metrics,
        kept: Path, clock: Callable[[], int] = now_us,
    ) -> None:  # fmt: skip
        self._control = control
        self._reviews = reviews
        self._audits = RedisAudits(reviews)
        self._recorder = recorder
        self._suspensions = suspensions
        self._metrics = metrics
        self._thresholds = kept
        self._clock = clock
        self._all_at = float("-inf")
        self._starting = asyncio.Lock()
        self._starts: dict[Promise, monitor.State] = {}
        self._lows: dict[str, float] = {}
        self._seen: set[str] = set()

    async def step(self) -> None:
        """One turn: looks at what was read, and now and then at everything. Raises IndexAway, JournalBroken, Unavailable."""
        everything = time.monotonic() - self._all_at > _ALL_EVERY_S
        await self.turn(everything)
        if everything:
            await self.show()
            self._all_at = time.monotonic()

    async def turn(self, everything: bool = True) -> None:
        """`everything`: also classes of which nothing was read, where time alone may have decided."""
        for site in self._control.sites:
            for label in site.standing.classes if site.standing else ():
                await _kept_apart(self._suspensions.follow(site, label), site, label)
        born = await self._born()
        if born is None:
            return
        for queue in sorted({queue_of(site.project) for site in self._control.sites}):
            ready = await (self._audits.drawn(queue) if everything else self._audits.ready(queue, _READY))
            for site in self._control.sites:
                here = [of for of in ready if (queue_of(site.project), site.name) == (queue, of.site)]
                if here and site.standing is not None:
                    await _kept_apart(self._enter(site, [of.label for of in here]), site, "")
                    for some in range(0, len(here), _AT_ONCE):
                        apart = (
                            _kept_apart(self._weigh(site, of, born), site, of.label)
                            for of in here[some : some + _AT_ONCE]
                        )
                        await asyncio.gather(*apart)

    async def _born(self) -> int | None:
        """When the index was made, microseconds; None while it lacks something of a gateway's journal: what was read in time
        would be overdue in a Redis that was set back."""
        epoch = await self._reviews.epoch(new_id())
        if self._recorder.behind or self._recorder.epoch != epoch:
            return None
        if self._reviews.whole is not None and not await self._reviews.whole.step():
            return None
        return (uuid.UUID(epoch).int >> 80) * 1000

    async def _weigh(self, site: Site, of: Class, born: int) -> None:
        """Takes what is decided from the head of a class's line, and acts when that answers the question."""
        queue, proof = queue_of(site.project), site.proofs.get(of.label)
        # Nothing is known here of changes since the documents were read: whoever drew later may have known them.
        known_until = self._clock() - round(1e6 * self._control.age)
        while True:
            (stored,) = await self._audits.evidence(queue, [of])
            entry = entry_of(self._suspensions.now(site), of.label)
            line = await self._audits.line(queue, of, _PAGE, entry.epoch if entry else 0)
            draws = [draw for draw in line if draw.at < known_until]
            if proof is None:
                aside = {draw.prediction: "" for draw in draws}
                if not draws or not await self._audits.take(queue, of, stored, stored.body or b"", aside):
                    return
                continue
            if entry is None or standing_changes.due(entry, proof, self._clock()) is not None:
                return
            before = await self._begun(site, entry, proof, stored)
            if before is None:
                return
            if evidence.decided(before, entry):
                await self._conclude(site, of, entry, before, proof)
                return
            taken = evidence.take(before, entry, draws, site.document.audit, self._clock(), born)
            if draws and not taken.draws:
                return
            # Whoever dies now leaves an answered question behind, and maybe nobody in line.
            again = evidence.decided(taken.evidence, entry)
            body = taken.evidence.pack()
            if not await self._audits.take(queue, of, stored, body, taken.draws, entry.epoch, again) or not draws:
                return  # another gateway was faster and goes on, or nobody is in line
            for result, count in taken.results.items():
                self._metrics.audits.labels(site.project, site.name, of.label, result).inc(count)

    async def _enter(self, site: Site, labels: list[str]) -> None:
        """A class's standing is begun with its first draw, so that a later change of its rules is noticed."""
        new = [label for label in labels if label in site.proofs and entry_of(site, label) is None]
        if new:
            begun = {label: ClassStanding(state="watching", rule=site.proofs[label].rule) for label in new}
            await self._suspensions.begin(site, begun)

    async def _begun(self, site: Site, entry: ClassStanding, proof: Proof, stored: Stored) -> Evidence | None:
        """The evidence of the epoch; None when another gateway is in a later one already."""
        found = evidence.unpack(stored.body)
        if found is not None and found.epoch > entry.epoch:
            return None
        promise = promised(proof, site.document.audit, len(site.proofs))
        if found is not None and evidence.goes_on(found, entry, promise):
            return found
        watch = evidence.kept(found, entry, promise)
        if watch is None and entry.state != "suspended":
            watch = await self._started(promise)
        return evidence.begin(entry, watch)

    async def _started(self, promise: Promise) -> monitor.State:
        """The state that every class of this promise starts with. A new promise takes seconds, once for all gateways."""
        async with self._starting:
            if promise not in self._starts:
                height = await asyncio.to_thread(thresholds.threshold, self._thresholds, promise)
                self._starts[promise] = monitor.start(promise, height)
        return self._starts[promise]

    async def _conclude(self, site: Site, of: Class, entry: ClassStanding, found: Evidence, proof: Proof) -> None:
        after = standing_changes.concluded(entry, found, proof, self._clock())
        changed = await self._suspensions.change(site, of.label, entry, after)
        if changed is not None:
            log.warning("class changed state", extra={"site": site.name, "label": of.label, "state": after.state})
            await self._suspensions.follow(self._suspensions.now(site), of.label)

    async def show(self) -> None:
        """Sets the gauges of every automatic class, and forgets those of classes that are none any more."""
        shown: dict[tuple[str, str, str], tuple[float, float]] = {}
        for site in self._control.sites:
            classes = [Class(site.name, label) for label in site.proofs]
            stored = await self._audits.evidence(queue_of(site.project), classes) if classes else []
            lows = await asyncio.to_thread(lambda stored=stored: [self._low(each) for each in stored])  # type: ignore[misc]
            for of, low in zip(classes, lows, strict=True):
                shown[site.project, site.name, of.label] = low, float(of.label in site.suspended)
        self._metrics.show_classes(shown)
        self._lows = {version: low for version, low in self._lows.items() if version in self._seen}
        self._seen = set()

    def _low(self, stored: Stored) -> float:
        """The lower bound that evidence leaves, worked out once for each version."""
        self._seen.add(stored.version)
        if stored.version not in self._lows:
            self._lows[stored.version] = 0.0
            try:
                found = evidence.unpack(stored.body)
            except msgspec.DecodeError:
                return 0.0  # whoever weighs it says so
            if found is not None and found.watch is not None and not found.suspended:
                self._lows[stored.version] = monitor.interval(found.watch)[0]
        return self._lows[stored.version]


async def _kept_apart(work: Awaitable[None], site: Site, label: str) -> None:
    """Whatever goes wrong with one class, the others are watched. /readyz tells of broken documents."""
    try:
        await work
    except (ModelStoreError, Unavailable) as error:
        log.warning("a class waits", extra={"site": site.name, "label": label, "why": str(error)})
    except Exception:
        log.exception("a class cannot be audited", extra={"site": site.name, "label": label})
