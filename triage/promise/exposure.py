"""How long a fault of a class would go unseen at a site: from its audits, its firings and the images that come. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from triage.promise.audit_policy import AuditPolicy, promised
from triage.promise.bets import Promise
from triage.promise.claims import Proof, label_of, share
from triage.promise.detection import audits_to_detect

FAULT = 3
"""Times the promised error: the fault that is asked about."""
NAMED = 5
"""Classes that a sentence names; more are counted."""
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


def unseen(proofs: Mapping[str, Proof], policy: AuditPolicy, suspended: Collection[str]) -> str:
    """Why a site should not be live: the classes whose faults would go unseen for longer than it allows, in words, and what
    would do for all of them. Empty where it may be."""
    if policy.images_per_day is None:
        return ""
    limit = policy.max_days_to_detect
    found = {
        label: each
        for label, each in exposures(proofs, policy).items()
        if not {label, label_of(label)} & set(suspended) and told_of(label, each, limit)
    }
    return told_together(found, limit)


def told_together(found: Mapping[str, Exposure], limit: float) -> str:
    """`told_of` for several classes at once: with one audit probability that suffices, where there is one."""
    more = f"and {len(found) - NAMED} more" if len(found) > NAMED else ""
    first = list(found.items())[:NAMED]
    enough = max((each.probability_for for each in found.values()), default=math.inf)
    if len(found) < 2 or enough > 1 or any(each.days is None for each in found.values()):
        return "; ".join([*(told_of(label, each, limit) or "" for label, each in first), *([more] if more else [])])
    names = ", ".join([f"of {label} {_long(each.days)}" for label, each in first] + ([more] if more else []))
    return (
        f"faults would go unseen, {names}, and max_days_to_detect is {limit:g}; "
        f"raise the audit probability of each to {_upwards(enough)}"
    )


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
    if found.probability_for <= 1:
        mend = f"raise its audit probability to {_upwards(found.probability_for)}"
    elif math.isinf(found.probability_for):
        mend = "name it in suspended"
    else:
        days = math.ceil(found.probability_for * limit)
        mend = f"audit every answer of it and set max_days_to_detect to {days:,}, or name it in suspended"
    return f"a fault of {label} would go unseen {_long(found.days)}, and max_days_to_detect is {limit:g}; {mend}"


def _long(days: float | None) -> str:
    assert days is not None
    return "for ever" if math.isinf(days) else f"for {days:,.0f} days"


def _upwards(probability: float) -> str:
    return f"{math.ceil(1000 * probability) / 1000:g}"
