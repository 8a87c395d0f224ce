"""Closes cases: by call, or when their time has come. Any gateway may, and any may die between two lines.

Images of a case lie journaled and undecided until then. Closing decides each again from the scores in its record, journals what
changed as the next revision, and last of all the event that says with which images the case was closed: whoever finds a case
open that somebody had begun to close decides the same of the same images and journals nothing twice.
"""

from __future__ import annotations

import logging

import msgspec
import numpy as np

from model_store.prediction import Prediction
from model_store.record import CaseState, EventRecord, PredictionRecord
from triage.control.opened_site import Site
from triage.control.sites import Control
from triage.deciding import decided
from triage.errors import Conflict, NotFound
from triage.ids import derived_id, now_us
from triage.index.cases import CLOSED, Case, RedisCases
from triage.intake import Intake
from triage.recorder import Recorder
from triage.reviewing import cases
from triage.reviewing.item import queue_of
from triage.reviewing.routing import routed

log = logging.getLogger(__name__)
_AT_ONCE = 32
_LATER_MS = 30_000
"""A case that cannot be closed now lets others go before it for so long."""


class Casework:
    """A background task of the gateway, and what its routes ask."""

    def __init__(
        self, control: Control, index: RedisCases, recorder: Recorder, intake: Intake, stale_s: float, audit_key: bytes
    ) -> None:
        self._control = control
        self._index = index
        self._recorder = recorder
        self._intake = intake
        self._stale_s = stale_s
        self._audit_key = audit_key

    async def read(self, project: str, site: str, name: str) -> Case:
        """Raises NotFound, IndexAway."""
        found = await self._index.read(project, site, name)
        if found is None:
            raise unknown(project, site, name)
        return found

    async def close(self, project: str, site: str, name: str, actor: str = "") -> Case:
        """The case, decided. One that is closed already stays as it is. Raises NotFound, IndexAway, and Conflict while another
        gateway is closing it."""
        here = self._control.site(project, site)
        # Of an index that is being made again an image may be missing, or what the case was closed with and callers were told.
        await self._recorder.insist(queue_of(project))
        case = await self.read(project, site, name)
        if not case.open:
            return case
        word = await self._index.begin_closing(case)
        if word is None:
            raise Conflict(f"the case {name!r} is being closed just now; read it again in a moment")
        try:
            case = await self.read(project, site, name)
            for record in self._changed(here, case):
                await self._recorder.record(record)
                self._intake.count(record)
            await self._recorder.record(_closing(case, actor))
            return await self.read(project, site, name)
        finally:
            await self._index.end_closing(case, word)

    async def step(self) -> int:
        """Closes the cases whose time has come; how many. Raises IndexAway."""
        done = 0
        for project in sorted({site.project for site in self._control.sites}):
            for site, name in await self._index.due(project, now_us() / 1e3, _AT_ONCE):
                try:
                    await self.close(project, site, name)
                    done += 1
                except (
                    Conflict,
                    NotFound,
                ) as error:  # somebody else is at it, or the site is gone: its cases stay open
                    log.info("a case cannot be closed yet", extra={"case": name, "site": site, "why": str(error)})
                    await self._index.later(project, site, name, now_us() // 1000 + _LATER_MS)
        return done

    def _changed(self, site: Site, case: Case) -> list[PredictionRecord]:
        """The next revision of every image that the case's decision changes."""
        asking = [record for record in case.images if cases.asks(record)]
        alone = [self._decided(record, "together") for record in asking]
        with_people = any(record.policy.case == "undecided" for record in asking)
        if with_people or not cases.answers(alone, site.labels):
            alone = [self._decided(record, "undecided") for record in asking]
        return [
            after
            for before, after in zip(asking, alone, strict=True)
            if _said(before) != _said(after) and not _with_people(before)
        ]

    def _decided(self, record: PredictionRecord, case: CaseState) -> PredictionRecord:
        fresh = msgspec.structs.replace(record, drawn=(), audit_u=None, audit_probability=None)
        after = decided(
            fresh, self._control.reader_of(record), _scores(record), control_stale=self._control.age > self._stale_s,
            audit_key=self._audit_key, case=case,
        )  # fmt: skip
        # A final goes out through the project's own queue, where callers listen, also when nobody had to be asked.
        queue = record.queue or (queue_of(record.project) if after.route == "automatic" else None)
        after = msgspec.structs.replace(after, revision=record.revision + 1, queue=queue)
        return routed(after, self._control.of("queue", record.project))


def _with_people(record: PredictionRecord) -> bool:
    """Whether people were asked because of the case: whatever is decided of it since, nobody is asked a second time."""
    return record.policy.case == "undecided" and record.route == "review"


def _said(record: PredictionRecord) -> tuple[object, ...]:
    return record.policy.case, record.route, record.reasons, record.fires, record.absent


def _scores(record: PredictionRecord) -> Prediction | None:
    """What the model had said, exactly as it is recorded; None where it said nothing."""
    if not record.policy.available:
        return None
    return Prediction(
        graph=record.graph, provider=record.provider, precision=record.precision,
        probability=record.probabilities(), typicality=np.float32(record.typicality),
        embedding=np.frombuffer(record.embedding, "<f2"),
    )  # fmt: skip


def _closing(case: Case, actor: str) -> EventRecord:
    """The same event whoever closes a case with the same images."""
    ids = sorted(record.id for record in case.images)
    return EventRecord(
        id=derived_id(CLOSED, case.project, case.site, case.name, *ids), name=CLOSED, project=case.project, site=case.site,
        subject=case.name, actor=actor, detail={"images": " ".join(ids)}, at=now_us(),
    )  # fmt: skip


def unknown(project: str, site: str, name: str) -> NotFound:
    """Of a case that nobody sent an image of, or none that the asker may know of."""
    return NotFound(
        f"no image of the case {name!r} is known at {project}/{site}, or none any more; send its images with ?case={name}"
    )
