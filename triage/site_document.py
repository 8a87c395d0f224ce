"""What a site's control document says: its mode, its model and rules, and how its answers are audited."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from model_store.labels import LabelSchema
from triage.audits import Chances
from triage.bets import Promise, shared
from triage.claims import Proof, target


class AuditPolicy(BaseModel):
    """How a site's answers are kept honest; docs/adr/0012 says how it works."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    probability: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Of a label that is answered, present or certified absent, to be read blind."""
    labels: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    """The same for single classes."""
    suspended: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Of an image on which a suspended class would have answered."""
    second_reader: bool = True
    """A doubt counts as an error only when a second, other reader shares it."""
    overdue_hours: Annotated[float, Field(gt=0)] = 72.0
    """An audit that nobody answered for so long counts as an error."""
    false_alarms: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Probability that any class of the site is suspended although it keeps its promise, within `horizon` audits each."""
    horizon: Annotated[int, Field(ge=100, le=100_000)] = 5000
    recall_items: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Of the answers that a suspension puts in doubt, the newest so many are read again by people; all are listed."""
    images_per_day: Annotated[float, Field(gt=0)] | None = None
    """Expected here (cases, where images come in cases: a case is evidence once); tells how long a fault would go unseen."""
    max_days_to_detect: Annotated[float, Field(gt=0)] = 90.0
    """A site whose faults would go unseen for longer is not let go live, once `images_per_day` is declared."""

    @property
    def chances(self) -> Chances:
        return Chances(audit=self.probability, suspended=self.suspended, labels=self.labels)


class SiteDocument(BaseModel):
    """What one site does. A site starts in `assist`: people see suggestions, nothing answers by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["capture", "assist", "live"] = "assist"
    model: Annotated[str, Field(pattern=r"^[a-z0-9_-]+/[0-9.]+$")] | None = None
    """`name/version` of a bundle; none: everything is captured or reviewed."""
    rules: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    labels: LabelSchema | None = None
    """Only for a site without a model: what reviewers can answer."""
    suspended: tuple[str, ...] = ()
    """Labels, or `absent:LABEL` where only the absence is meant."""
    always_review: tuple[str, ...] = ()
    audit: AuditPolicy = AuditPolicy()


def promised(proof: Proof, policy: AuditPolicy, classes: int) -> Promise:
    """What the monitor holds a claim to; the site's false alarms are shared among all claims that may be made there."""
    return shared(Promise(round(1 - target(proof), 9), policy.false_alarms, policy.horizon), classes)
