"""How long a fault of a class would go unseen at a site: from its audits, its firings and the images that come. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from triage.bets import Promise
from triage.claims import Proof, label_of, share
from triage.detection import audits_to_detect
from triage.site_document import AuditPolicy, SiteDocument, promised

FAULT = 3
"""Times the promised error: the fault that is asked about."""
UNDECLARED = (
    "how long a fault would go unseen is not known; declare in audit.images_per_day how many images come each day "
    "(cases, where images come in cases)"
)


@dataclass(frozen=True)
class Exposure:
    """Infinite days: it would never be seen. None: not known, and `why` says what is missing."""

    days: float | None
    why: str = ""
    probability_for: float = math.inf
    """Audit probability with which the fault shows within the days that were asked for; above 1 none does."""
    declared: bool = False
    """Somebody said how many images come, and so asks for the limit to be kept."""

    def told(self) -> dict[str, float | str | None]:
        """For JSON, which has no infinity."""
        if self.days is None or math.isinf(self.days):
            return {"days": None, "why": self.why or "its answers are not audited, and no fault would ever be seen"}
        return {"days": round(self.days, 2), "why": ""}


def exposure(proof: Proof, promise: Promise, probability: float, images_per_day: float | None, days: float) -> Exposure:
    """Of a class whose answers are audited with a probability; the simulation behind it takes seconds where it is new."""
    if images_per_day is None:
        return Exposure(None, UNDECLARED)
    made = share(proof)
    if made is None:
        return Exposure(None, "its certificate does not tell on which share of images it fires", declared=True)
    fault = min(FAULT * promise.error, (1 + promise.error) / 2)
    audits, firings = audits_to_detect(promise, fault), images_per_day * made
    found = audits / (firings * probability) if firings * probability else math.inf
    needed = audits / (firings * days) if firings else math.inf
    return Exposure(found, probability_for=needed, declared=True)


def exposures(proofs: Mapping[str, Proof], policy: AuditPolicy) -> dict[str, Exposure]:
    """Of each claim that may be made at a site."""
    return {
        claim: exposure(
            proof, promised(proof, policy, len(proofs)), policy.chances.of(claim), policy.images_per_day,
            policy.max_days_to_detect,
        )
        for claim, proof in proofs.items()
    }  # fmt: skip


def unseen(proofs: Mapping[str, Proof], document: SiteDocument) -> list[str]:
    """Why a site should not be live: the classes whose faults would go unseen for longer than it allows, in words."""
    policy = document.audit
    if document.mode != "live" or policy.images_per_day is None:
        return []
    found = (
        told_of(label, each, policy.max_days_to_detect)
        for label, each in exposures(proofs, policy).items()
        if not {label, label_of(label)} & set(document.suspended)
    )
    return [each for each in found if each]


def told_of(label: str, found: Exposure, limit: float) -> str | None:
    """Why a site with this class should not be live, and what to change. None where it may be, and where nobody said how many
    images come."""
    if not found.declared or (found.days is not None and found.days <= limit):
        return None
    if found.days is None:
        return (
            f"how long a fault of {label} would go unseen is not known, since {found.why}; "
            "certify it again, or name it in suspended"
        )
    unseen = "for ever" if math.isinf(found.days) else f"for {found.days:,.0f} days"
    if found.probability_for <= 1:
        mend = f"raise its audit probability to {math.ceil(1000 * found.probability_for) / 1000:g}"
    elif math.isinf(found.probability_for):
        mend = "name it in suspended"
    else:
        days = math.ceil(found.probability_for * limit)
        mend = f"audit every answer of it and set max_days_to_detect to {days:,}, or name it in suspended"
    return f"a fault of {label} would go unseen {unseen}, and max_days_to_detect is {limit:g}; {mend}"
