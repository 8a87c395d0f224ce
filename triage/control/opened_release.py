"""A challenger with everything it names opened, under the suspensions in force. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from model_store.bundle import Bundle
from model_store.decision import DecisionTable
from model_store.rules import Rules
from triage.promise.claims import Proof, certified, unwatched
from triage.promise.standing import Standing


@dataclass(frozen=True)
class OpenedRelease:
    """What reads a share of a site's images beside the champion. Its labels are the champion's."""

    how: Literal["shadow", "canary"]
    share: float
    """Of the site's images, in (0, 1]."""
    bundle: Bundle
    rules: Rules
    table_unsuspended: DecisionTable
    table: DecisionTable
    """Under the suspensions in force."""
    suspended: frozenset[str] = frozenset()
    """Claims that may not be made."""

    @cached_property
    def proofs(self) -> dict[str, Proof]:
        """The proof of each claim that this release may make."""
        return certified(self.rules)

    def under(self, declared: frozenset[str], standing: Standing | None, now: int) -> OpenedRelease:
        """The same under other suspensions: those that the site's document declares, and its standing, which holds for this
        release's certificates as for any: only one whose images all came after a suspension ends it."""
        claims = frozenset((*self.proofs, *unwatched(self.rules)))
        by_standing = claims if standing is None else standing.suspended(self.proofs, now)
        suspended = declared | by_standing
        if suspended == self.suspended:
            return self
        return replace(self, suspended=suspended, table=self.table_unsuspended.without(suspended))
