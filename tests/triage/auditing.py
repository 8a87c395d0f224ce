"""A gateway whose answers are all audited, people who read by the truth, and an auditor whose turns the test takes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from model_store.record import EventRecord
from model_store.rules import ClassRule, Rules
from tests import bundles
from tests.services import Data
from tests.triage.gateway_parts import QUEUE, Wired
from triage.auditing.auditor import Auditor
from triage.auditing.recall import Recalls
from triage.auditing.suspensions import Suspensions
from triage.control.catalog import Catalog
from triage.ids import now_us
from triage.index.audits import Class, RedisAudits
from triage.promise.evidence import Evidence, unpack
from triage.promise.standing import ClassStanding

ALL = {"probability": 1, "suspended": 1, "horizon": 200}
"""Everything is drawn, and thresholds are simulated quickly."""
TARGET = 0.8
"""Low enough for a test of resumption with few reads."""


def lenient(data: Data, sites: tuple[str, ...] = ("default",), **changes: Any) -> Rules:
    """Signed rules that promise `TARGET`."""
    rule = ClassRule(
        state="automatic", threshold=0.9, veto=0.5, certificate=bundles.certificate(**{"target": TARGET, **changes})
    )
    old = bundles.rules(data.bundle, sites)
    return bundles.signed(data.folder, bundles.sealed(old, classes={**old.classes, "red": rule, "green": rule}))


def declare(data: Data, rules: Rules, *sites: str, **audit: Any) -> None:
    for site in sites or ("default",):
        data.declare(site, rules=rules.digest, audit={**ALL, **audit})


@dataclass
class Audited:
    """`truth` holds what people see in each prediction's image."""

    gateway: Wired
    clock_ahead_us: int = 0
    truth: dict[str, str] = field(default_factory=dict)
    salt: Any = field(default_factory=itertools.count)

    def auditor(self, gateway: Wired | None = None, stale_s: float = 0.0) -> Auditor:
        """A new one, as after a restart."""
        of = gateway or self.gateway
        recalls = Recalls(of.data.folder / "journal", of.journal.folder.name, Catalog(of.data.folder), of.recorder)
        clock = lambda: now_us() + self.clock_ahead_us  # noqa: E731
        suspensions = Suspensions(of.control, of.recorder, recalls, stale_s, clock)
        return Auditor(
            of.control, of.reviews, of.recorder, suspensions, of.metrics, of.data.folder / "thresholds", clock
        )

    async def send(
        self, count: int, colour: str = "red", truth: str | None = None, site: str = "default", case: str | None = None
    ) -> list[str]:
        """Predictions of images that the model calls `colour` and people call `truth`; their ids."""
        sent = []
        for _ in range(count):
            view = await self.gateway.predict(colour, next(self.salt), site=site, case=case)
            self.truth[view["id"]] = truth or colour
            sent.append(view["id"])
        return sent

    async def read(self, *reviewers: str, limit: int | None = None) -> int:
        """People answer what waits, by the truth, until nothing waits for any of them or `limit` are answered."""
        done, before = 0, -1
        while done != before and done != limit:
            before = done
            for reviewer in reviewers or ("ada", "ben"):
                for lease in await self.gateway.desk.lease(
                    QUEUE, reviewer, 100 if limit is None else limit - done, None
                ):
                    seen = self.truth[lease.item.prediction]
                    labels = self.gateway.desk.labels(QUEUE).ids
                    given: Any = {label: "present" if label == seen else "absent" for label in labels}
                    await self.gateway.answering.answer(lease.token, "labels", given, None, "")
                    done += 1
        return done

    async def turn(self, auditor: Auditor | None = None) -> None:
        self.gateway.control.poll()
        await (auditor or self.auditor()).turn()

    def entry(self, label: str = "red", site: str = "default") -> ClassStanding:
        standing = self.gateway.control.site("default", site).standing
        assert standing is not None
        return standing.classes[label]

    async def evidence(self, label: str = "red", site: str = "default") -> Evidence:
        found = await self.evidence_or_none(label, site)
        assert found is not None
        return found

    async def evidence_or_none(self, label: str = "red", site: str = "default") -> Evidence | None:
        (stored,) = await RedisAudits(self.gateway.reviews).evidence(QUEUE, [Class(site, label)])
        return unpack(stored.body)

    def events(self, name: str) -> dict[str, EventRecord]:
        """By id: an event that is written twice counts once."""
        return {
            record.id: record
            for record in self.gateway.journaled()
            if isinstance(record, EventRecord) and record.name == name
        }

    async def until_suspended(self, site: str = "default", at_most: int = 60) -> int:
        """Bad reds until the monitor has seen enough; how many."""
        for count in range(1, at_most + 1):
            await self.send(1, "red", "blue", site)
            await self.read()
            await self.turn()
            if "red" in self.gateway.control.site("default", site).suspended:
                return count
        raise AssertionError(f"no alarm after {at_most} wrong answers")
