"""A site as the service knows it: its document, with everything that names opened, under the suspensions in force. Pure."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from model_store.bundle import Bundle
from model_store.decision import DecisionTable
from model_store.labels import LabelSchema
from model_store.manifest import ImageSpec
from model_store.rules import Rules
from triage.control.opened_release import OpenedRelease
from triage.control.site_document import SiteDocument
from triage.promise.claims import Proof, certified, label_of, unwatched
from triage.promise.standing import Standing

_NOTHING = Standing()
_NAMED = 5
"""Claims that are named one by one; more are counted."""


@dataclass(frozen=True)
class Site:
    """Fresh from `Control.open` it is under no suspension yet; `standing_as` puts it under those in force."""

    project: str
    name: str
    document: SiteDocument
    etag: str
    labels: LabelSchema
    image: ImageSpec
    bundle: Bundle | None = None
    rules: Rules | None = None
    table: DecisionTable | None = None
    """Under the suspensions in force."""
    table_unsuspended: DecisionTable | None = None
    standing: Standing | None = _NOTHING
    """None: it was never readable, and until it is no class answers."""
    suspended: frozenset[str] = frozenset()
    """In force: by the document, by the monitor, or by an operator."""
    challenger: OpenedRelease | None = None
    """What reads a share of the images beside `bundle`, under the suspensions in force."""
    of: str | None = None
    """Of a canary (canary.py): the site of whose images it reads a share."""
    off: str | None = None
    """Why nothing may answer here whatever the document says: the kill switch's reason. None: the switch is on."""

    @property
    def place(self) -> str:
        """Name of the site whose document this is."""
        return self.of or self.name

    @property
    def mode(self) -> Literal["capture", "assist", "live"]:
        """What the site does: what its document says, unless the kill switch is off."""
        return "assist" if self.off is not None and self.document.mode == "live" else self.document.mode

    @cached_property
    def proofs(self) -> dict[str, Proof]:
        """The proof of each claim that may be made here."""
        return certified(self.rules)

    @property
    def unwatched(self) -> tuple[str, ...]:
        """Claims of absence that nobody can watch."""
        return unwatched(self.rules)

    @property
    def told_suspended(self) -> tuple[str, ...]:
        """A sentence about each claim that would be made here, were it not suspended; few of them, and nobody's name, since
        `/readyz` needs no key."""
        silent = [claim for claim in (*self.proofs, *self.unwatched) if {claim, label_of(claim)} & self.suspended]
        told = tuple(f"{claim} is suspended{self._since(claim)}; its images go to people" for claim in silent[:_NAMED])
        more = len(silent) - _NAMED
        return (*told, f"and {more} more; its monitor lists them") if more > 0 else told

    def _since(self, claim: str) -> str:
        if {claim, label_of(claim)} & set(self.document.suspended):
            return " by its document"
        classes = self.standing.classes if self.standing else {}
        entry = classes.get(claim if claim in self.suspended else label_of(claim))
        if entry is None:
            return ""
        since = entry.since if entry.suspended_at is None else entry.suspended_at
        return f" since {datetime.datetime.fromtimestamp(since / 1e6, datetime.UTC):%Y-%m-%d %H:%M} UTC"

    def suspended_at(self, now: int) -> frozenset[str]:
        """The classes that may not answer at a moment."""
        by_standing = (
            frozenset((*self.proofs, *self.unwatched))
            if self.standing is None
            else self.standing.suspended(self.proofs, now)
        )
        return by_standing | frozenset(self.document.suspended)

    def switched(self, off: str | None) -> Site:
        """The same site under another state of the kill switch; itself when nothing is different."""
        return self if off == self.off else replace(self, off=off)

    def standing_as(self, found: Standing | None, now: int) -> Site:
        """The same site under another standing; itself when nothing is different."""
        stood = self if found is self.standing else replace(self, standing=found)
        if stood.challenger is not None:
            tried = stood.challenger.under(frozenset(stood.document.suspended), found, now)
            stood = stood if tried is stood.challenger else replace(stood, challenger=tried)
        suspended = stood.suspended_at(now)
        if suspended == stood.suspended:
            return stood
        table = stood.table_unsuspended and stood.table_unsuspended.without(suspended)
        return replace(stood, suspended=suspended, table=table)
