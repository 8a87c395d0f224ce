"""Carries a class's standing on: what time asks for, an operator's word, and what is to follow from a change.

Every change is a compare-and-swap of the standing document. What follows, an event in the journal and a recall, is marked in
the document until it is done, so that whoever dies between two lines is made up for by the next turn of any gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from model_store.record import EventRecord
from triage.auditing.recall import Doubt, Recalls
from triage.control.opened_site import Site
from triage.control.sites import Control
from triage.errors import Conflict, Invalid, PreconditionFailed
from triage.ids import derived_id, now_us
from triage.promise import standing_changes
from triage.promise.claims import label_of
from triage.promise.standing import ClassStanding, Recall, Standing
from triage.recorder import Recorder
from triage.reviewing.item import queue_of
from triage.reviewing.routing import Asked, route

log = logging.getLogger(__name__)
MAX_HOURS = 168
"""An operator's word stands for a week; evidence stands for longer."""


class Suspensions:
    """One object for the life of the gateway. Methods raise Unavailable, ModelStoreError."""

    def __init__(
        self, control: Control, recorder: Recorder, recalls: Recalls, stale_s: float, clock: Callable[[], int] = now_us
    ) -> None:
        self._control = control
        self._recorder = recorder
        self._recalls = recalls
        self._clock = clock
        self._settle_us = round(1e6 * (stale_s + 5))
        """After so long every gateway knows of a suspension, or lets nothing answer; what it had begun is done."""
        self._swept: set[str] = set()
        """Recalls of which nothing is left that this gateway sees."""

    async def follow(self, site: Site, label: str) -> None:
        """What a class's standing asks for: the next one, its event, its recall."""
        proof = site.proofs.get(label)
        entry = entry_of(self.now(site), label)
        if entry is None:
            return
        follows = standing_changes.due(entry, proof, self._clock()) if proof is not None else None
        if follows is not None:
            entry = await self.change(site, label, entry, follows)
        if entry is not None and not entry.journaled:
            await self._recorder.record(_event(site, label, entry))
            entry = await self.change(site, label, entry, entry.model_copy(update={"journaled": True}))
        for recall in entry.recalls if entry is not None else ():
            if recall.id not in self._swept:
                await self._recall(site, label, recall)

    async def _recall(self, site: Site, label: str, recall: Recall) -> None:
        """The part of a recall that this gateway sees to: its own journal, and later those of gateways that are gone."""
        waited, own = self._clock() - recall.at, self._recalls.node
        settled = waited > self._settle_us
        if not settled and own in recall.swept:
            return
        folders = self._recalls.nodes() if waited > 2 * self._settle_us else {own}
        left = {node for node in folders if recall.swept.get(node) != "whole"}
        if left:
            asked = Asked("recall", site.place, labels=(label_of(label),))
            queue = queue_of(site.project, route(self._control.of("queue", site.project), asked))
            doubt = Doubt(site.project, site.name, label, recall, queue)
            count = await self._recalls.sweep(doubt, left, site.document.audit.recall_items)
            log.warning("answers are recalled", extra={"site": site.name, "label": label, "answers": count})
            await self._mark(site, label, recall.id, dict.fromkeys(left, "whole" if settled else "once"))
        if waited > 2 * self._settle_us:
            self._swept.add(recall.id)

    async def _mark(self, site: Site, label: str, recall: str, swept: dict[str, str]) -> None:
        def mark(standing: Standing) -> Standing:
            entry = standing.classes.get(label)
            if entry is None:
                return standing
            recalls = tuple(
                each.model_copy(update={"swept": {**each.swept, **swept}}) if each.id == recall else each
                for each in entry.recalls
            )
            return standing.with_class(label, entry.model_copy(update={"recalls": recalls}))

        with contextlib.suppress(PreconditionFailed):  # the next turn sweeps again, and finds it done
            await asyncio.to_thread(self._control.change_standing, site, mark)

    async def begin(self, site: Site, entries: dict[str, ClassStanding]) -> None:
        """Puts in entries of classes that have none yet."""

        def put(standing: Standing) -> Standing:
            return Standing(classes={**entries, **standing.classes})

        with contextlib.suppress(PreconditionFailed):
            await asyncio.to_thread(self._control.change_standing, site, put)

    async def change(
        self, site: Site, label: str, before: ClassStanding | None, after: ClassStanding
    ) -> ClassStanding | None:
        """Puts `after` in the place of `before`; None when somebody else has put something else there meanwhile."""

        def swap(standing: Standing) -> Standing:
            return standing.with_class(label, after) if standing.classes.get(label) == before else standing

        try:
            stands = await asyncio.to_thread(self._control.change_standing, site, swap)
        except PreconditionFailed:  # the site's document changed: judge again by the new one
            return None
        return after if stands.classes.get(label) == after else None

    def now(self, site: Site) -> Site:
        return self._control.site(site.project, site.name)

    async def override(self, site: Site, label: str, actor: str, why: str, hours: float | None) -> ClassStanding:
        """Suspends a class, or with `hours` resumes it for so long, because somebody said so; the standing that follows.

        Raises Invalid for what cannot be meant, Conflict when it is so already.
        """
        where = f"{site.project}/{site.name}"
        proof = site.proofs.get(label)
        if label_of(label) not in site.labels.ids:
            raise Invalid(f"{label!r} is no label of {where}; choose from {', '.join(site.labels.ids[:20])}")
        if proof is None:
            raise Invalid(f"{label} is not automatic at {where}, and answers nothing; certify it first")
        if not actor.strip() or not why.strip():
            raise Invalid("say in 'reason' why and in 'actor' who decides so; both go into the journal")
        if hours is not None and not 0 < hours <= MAX_HOURS:
            raise Invalid(
                f"hours is {hours:g}; resume for more than 0 and at most {MAX_HOURS} hours, and again when they end"
            )
        if hours is not None and label in site.document.suspended:
            raise Conflict(f"{label} is suspended by the document of {where}; take it out of 'suspended' there")
        now = self._clock()
        before = entry_of(site, label)
        silent = before is not None and before.silences(proof, now)
        if hours is None and silent:
            raise Conflict(f"{label} is suspended at {where} already; GET its monitor to read why")
        if hours is not None and not silent and before is not None and before.state == "resumed":
            raise Conflict(f"{label} is resumed at {where} already; suspend it first to resume it for another time")
        if hours is not None and not silent:
            raise Conflict(f"{label} is not suspended at {where}; there is nothing to resume")
        until = None if hours is None else now + round(hours * 3.6e9)
        known = before or ClassStanding(state="watching", rule=proof.rule)
        after = standing_changes.by_operator(known, proof, now, actor, why, until)
        if await self.change(site, label, before, after) is None:
            raise PreconditionFailed(f"{label} changed at {where} meanwhile; read its state and say it again")
        await self.follow(self.now(site), label)
        return after


def entry_of(site: Site, label: str) -> ClassStanding | None:
    return site.standing.classes.get(label) if site.standing else None


def _event(site: Site, label: str, entry: ClassStanding) -> EventRecord:
    detail = {**entry.evidence, "why": entry.why, "rule": entry.rule, "epoch": str(entry.epoch)}
    if entry.state == "suspended":
        detail["returns"] = entry.returns
    if entry.reads is not None:
        detail |= {"reads": str(entry.reads), "errors_allowed": str(entry.errors_allowed)}
    if entry.state == "suspended" and entry.recall is not None:
        detail |= {"recall": entry.recall.id, "recalled_after": str(entry.recall.after)}
    if entry.until is not None:
        detail |= {"until": str(entry.until)}
    return EventRecord(
        id=derived_id("standing", site.project, site.name, label, str(entry.epoch), str(entry.since)), name=entry.event,
        project=site.project, site=site.name, subject=label, actor=entry.by, detail=detail, at=entry.since,
    )  # fmt: skip
