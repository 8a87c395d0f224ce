"""How long a fault of a class would go unseen at a site: from its audits, its firings and the images that come. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model_store.certificates import Certificate
from triage.bets import Promise
from triage.detection import audits_to_detect, days_to_detect

FAULT = 3
"""Times the promised error: the fault that is asked about."""


@dataclass(frozen=True)
class Exposure:
    """Infinite days: it would never be seen. None: not known, and `why` says what is missing."""

    days: float | None
    why: str = ""
    probability_for: float = math.inf
    """Audit probability with which the fault shows within the days that were asked for; above 1 none does."""

    def told(self) -> dict[str, float | str | None]:
        """For JSON, which has no infinity."""
        if self.days is None or math.isinf(self.days):
            return {"days": None, "why": self.why or "its answers are not audited, and no fault would ever be seen"}
        return {"days": round(self.days, 2), "why": ""}


def exposure(
    certificate: Certificate, promise: Promise, probability: float, images_per_day: float | None, days: float
) -> Exposure:
    """Of a class whose answers are audited with a probability; the simulation behind it takes seconds where it is new."""
    if images_per_day is None:
        return Exposure(None, "images_per_day is not declared")
    if certificate.drawn == "firings":
        return Exposure(
            None, "its certificate is from firings only and does not tell on which share of images it fires"
        )
    fault = min(FAULT * promise.error, (1 + promise.error) / 2)
    audits = audits_to_detect(promise, fault)
    firings = images_per_day * certificate.firings / certificate.images
    return Exposure(days_to_detect(audits, firings, probability), probability_for=audits / (firings * days))
