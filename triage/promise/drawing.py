"""Which classes an image would be evidence for, and with which probability it is read blind for each. Pure.

The same for the gateway and for `explain`: both ask these functions, with what the site's document says or with what the
record kept of it.

* An automatic answer is evidence for every class that fires, and for every label that it calls absent.
* An image that would have been answered if nothing were suspended is evidence for every suspended class that would have
  fired on it, or been called absent. So audits, and the test that gives a class back, are about the same images: those that
  are answered.
* An image that a class with a sampling plan would fire on, at the plan's lenient threshold, is evidence for that class, also
  where the site only assists: what a certificate counts is all images on which the class fires. Nothing else that must keep
  it from being answered may hold: no use condition fails, the control state is known, and no label that fires must always
  be read. That other groups are undecided does not matter: else no group could gather evidence before all others had it.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from model_store.decision import Decisions, DecisionTable, Floats, would_fire
from model_store.record import PolicySnapshot, PredictionRecord, Route
from triage.promise.audits import Chances
from triage.promise.claims import absent


def chance(
    chances: Chances,
    policy: PolicySnapshot,
    route: Route,
    unsuspended: Route,
    made: Collection[str],
    made_unsuspended: Collection[str],
    sampled: dict[str, float],
    origin: str = "http",
) -> dict[str, float]:
    """Claim -> probability. `made` are the claims under the suspensions, `made_unsuspended` those without them, as `claims`
    gives them, `sampled` as `sampled` does; `unsuspended` is the route of `policy.without_suspensions`."""
    if origin == "backfill":  # of another time: what is drawn now must speak for what comes now
        return {}
    if policy.out_of_scope or policy.control_stale or policy.mode == "capture" or policy.case == "open":
        return {}
    found = {claim: chances.of(claim) for claim in made} if route == "automatic" else {}
    always = set(policy.always_review)
    if not always & set(made_unsuspended):
        found |= {label: sampled[label] for label in sampled.keys() - always}
    if unsuspended == "automatic":
        found |= {claim: chances.suspended for claim in made_unsuspended if claim in policy.suspended}
    return {claim: found[claim] for claim in sorted(found) if found[claim] > 0}


def claims(table: DecisionTable, outcome: Decisions) -> tuple[str, ...]:
    """What one image's decision claims: labels that fire, and those that are certified absent."""
    fires, absences = np.flatnonzero(outcome.fires[0]), np.flatnonzero(outcome.absent[0])
    return (*(table.heads[column] for column in fires), *(absent(table.heads[column]) for column in absences))


def sampled(table: DecisionTable, probability: Floats, typicality: Floats) -> dict[str, float]:
    """The classes with a sampling plan that would fire on one image, probability `[1, C]`: with the plan's probability."""
    planned = ~np.isnan(table.sampling_probability)
    if not planned.any():
        return {}
    would = would_fire(table, probability, typicality)[0] & planned
    return {table.heads[column]: float(table.sampling_probability[column]) for column in np.flatnonzero(would)}


def kept(record: PredictionRecord) -> Chances:
    """The site's chances as far as a record tells: those of the classes that it names."""
    named = record.policy.audit
    suspended = [named[label] for label in named if label in record.policy.suspended]
    return Chances(audit=0.0, suspended=max(suspended, default=0.0), labels=named)
