"""How a site's answers are kept honest: how many are audited, what is alarming, when. docs/adr/0012 says how it works."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from triage.promise.audits import Chances
from triage.promise.bets import Promise, shared
from triage.promise.claims import Proof, target


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


def promised(proof: Proof, policy: AuditPolicy, classes: int) -> Promise:
    """What the monitor holds a claim to; the site's false alarms are shared among all claims that may be made there."""
    return shared(Promise(round(1 - target(proof), 9), policy.false_alarms, policy.horizon), classes)
