"""The wired parts of one gateway, as routes see them."""

from __future__ import annotations

import asyncio
import datetime
from dataclasses import dataclass, field

from triage.access.entrance import Entrance
from triage.answering import Answering
from triage.auditing.suspensions import Suspensions
from triage.calling.calls import Calls
from triage.casework import Casework
from triage.changes import Changes
from triage.control import validity
from triage.control.sites import Control
from triage.desk import Desk
from triage.golding import Golding
from triage.index.reviews import RedisReviews
from triage.index.whole import listed
from triage.intake import Intake
from triage.journal.segments import SegmentJournal
from triage.metrics import Metrics
from triage.outcomes.hub import Hub
from triage.outcomes.webhooks import Webhooks
from triage.people import People
from triage.ports import Blobs
from triage.recorder import Recorder
from triage.settings import Settings
from triage.sweeping import Sweeping


@dataclass
class Parts:
    settings: Settings
    metrics: Metrics
    entrance: Entrance
    control: Control
    changes: Changes
    journal: SegmentJournal
    blobs: Blobs
    reviews: RedisReviews
    recorder: Recorder
    intake: Intake
    desk: Desk
    sweeping: Sweeping
    answering: Answering
    golding: Golding
    people: People
    suspensions: Suspensions
    casework: Casework
    hub: Hub
    webhooks: Webhooks
    calls: Calls
    showing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """Images being decoded to be shown: the largest take hundreds of MB each."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def learn(self) -> None:
        """What the documents say of keys and people holds at the entrance from now on."""
        self.entrance.know(self.control.of("key"), self.control.service("access"), self.control.unread("key"))

    def readiness(self) -> tuple[str, list[str]]:
        """The readiness state and every reason against a better one."""
        if self.stopping.is_set():
            return "not_ready", ["this gateway stops"]
        if self.journal.broken:
            return "not_ready", [f"the journal is broken: {self.journal.broken}"]
        if not self.control.sites:
            return "not_ready", ["no site is declared; PUT /v1/projects/default/sites/default", *self._problems()]
        why = self._problems() + self._silent()
        if self.control.age > self.settings.control_stale_s:
            why.append("control documents are stale")
        samples = [sample for family in self.metrics.classifier_up.collect() for sample in family.samples]
        served = {site.document.model for site in self.control.sites}
        tried = {site.document.challenger.model for site in self.control.sites if site.document.challenger}
        versions = {sample.labels["version"]: sample.value for sample in samples}
        down = [name for name, up in versions.items() if not up and name in served]
        why += [f"the model {name} does not answer" for name in down]
        silent = [name for name, up in versions.items() if not up and name in tried - served]
        why += [f"the challenger {name} does not answer" for name in silent]
        if self.recorder.behind:
            why.append("the index is behind the journal")
        if self.reviews.whole is not None and self.reviews.whole.waits_for:
            why.append(f"nothing is leased: the index waits for {listed(self.reviews.whole.waits_for)}")
        return ("deferring_only" if down or self.control.age > self.settings.control_stale_s else "answering"), why

    def _silent(self) -> list[str]:
        """Sites that answer nothing although they are live, for what their rules say, and classes that are suspended there."""
        now = datetime.datetime.now(datetime.UTC)
        told = []
        for site in sorted(self.control.sites, key=lambda site: (site.project, site.name)):
            if site.document.mode == "live":
                reasons = (
                    validity.elsewhere(site.rules, site.project, site.place),
                    validity.expired(site.rules, now),
                    validity.never_met(site.rules, self.settings.source_fields),
                )
                off = (f"the switch is off ({site.off}), so that it only assists",) if site.off is not None else ()
                told += [
                    f"{site.project}/{site.name}: {says}" for says in (*off, *reasons, *site.told_suspended) if says
                ]
        return told

    def _problems(self) -> list[str]:
        return [f"{site}: {problem}" for site, problem in sorted(self.control.problems.items())]
