"""What a queue's control document says: what comes to it, in which order, who may read it, how often and until when.

`projects/P/queues/Q.json`. The queue `review` takes what no other does and needs no document.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model_store.labels import LabelId
from triage.reviewing.item import Purpose

Reason = Literal[
    "none_fired", "undecided_label", "atypical", "conflict", "class_suspended", "always_review", "out_of_scope", "audit",
    "gold", "model_unavailable", "control_stale", "site_capturing", "site_assisting", "case_open", "case_undecided",
]  # fmt: skip
Skill = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0, le=366 * 86_400)]


class Rule(BaseModel):
    """Matches an item when each field that is given does; a field matches when one of its values does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reasons: tuple[Reason, ...] = ()
    labels: tuple[LabelId, ...] = ()
    """What the model would answer or, where nothing fires, its most probable label; of an audit the labels it is about."""
    sites: tuple[Name, ...] = ()
    purposes: tuple[Purpose, ...] = ("review",)
    metadata: dict[str, tuple[str, ...]] = {}
    """Name -> values. Names are those of the service's `source_fields`, and `view` and `role`."""


class QueueDocument(BaseModel):
    """Every field has a default: what a queue without a document does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    routes: tuple[Rule, ...] = ()
    """What matches one of them comes here, unless a queue that is asked before takes it."""
    priority: Annotated[int, Field(ge=0, le=1000)] = 100
    """The lowest is asked first; then they go by name."""
    bonus_s: dict[Reason, Annotated[float, Field(ge=0, le=366 * 86_400)]] = {}
    """An item with this reason is placed as if it had come so many seconds earlier; with several, the largest counts."""
    sla_s: Seconds | None = None
    """What somebody waits for longer than this is counted as overdue, and stays."""
    deadline_s: Seconds | None = None
    """What somebody waits for longer than this nobody is asked about any more; its caller is told `unresolved`."""
    attempts: Annotated[int, Field(ge=1, le=1000)] = 5
    """An item whose lease expires so often is set aside as a dead letter. Skips and items given back do not count."""
    lease_s: Annotated[int, Field(ge=1, le=86_400)] | None = None
    """In place of the service's."""
    agree: Annotated[int, Field(ge=1, le=9)] = 1
    """So many of at most `readers` people have to say the same."""
    readers: Annotated[int, Field(ge=1, le=9)] = 1
    agreement: Literal["exact", "per_label"] = "exact"
    """What "the same" is (consensus.py)."""
    escalate_to: Name | None = None
    """The queue of the adjudicators, for what readers leave to them or cannot agree on."""
    hold_s: Annotated[float, Field(ge=0, le=3600)] | None = None
    """A reviewer may take an answer back for so long before anybody is told; in place of the service's."""
    gold_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Of what a reviewer is given, the share whose answer is known."""
    wrong_gold_share: Share = 0.0
    """Of the golds, the share with a wrong label suggested first."""
    blind_share: Share = 0.0
    """Of the items, the share shown without suggestions and reasons."""
    skills: tuple[Skill, ...] = ()
    """Whoever reads here has all of these in their document."""

    @model_validator(mode="after")
    def _agreement_can_be_met(self) -> Self:
        if self.agree > self.readers:
            raise ValueError(
                f"{self.agree} of {self.readers} readers cannot agree; set readers to {self.agree} at least"
            )
        if self.sla_s is not None and self.deadline_s is not None and self.sla_s > self.deadline_s:
            raise ValueError("items would be taken out before they are overdue; set sla_s below deadline_s")
        return self
