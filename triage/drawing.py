"""Which classes an image would be evidence for, and with which probability it is read blind for each. Pure.

The same for the gateway and for `explain`: both ask these functions, with what the site's document says or with what the
record kept of it.

* An automatic answer is evidence for every class that fires.
* An image that a suspended class would have been answered on is evidence for that class, where the site is live and its
  rules hold: it is read as the suspended class's answers were.
* An image that a class with a sampling plan would fire on, at the plan's lenient threshold, is evidence for that class,
  also where the site only assists.

An image outside the use conditions is evidence for nothing: no certificate speaks of it.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from model_store.decision import DecisionTable, Floats, would_fire
from model_store.record import PolicySnapshot, PredictionRecord, Route
from triage import audits
from triage.audits import Chances


def chance(
    chances: Chances,
    policy: PolicySnapshot,
    route: Route,
    fires: Collection[str],
    fires_unsuspended: Collection[str],
    sampled: dict[str, float],
) -> dict[str, float]:
    """Class -> probability. `sampled` as `sampled` gives it; the rest is as in `policy.route`."""
    if policy.out_of_scope or policy.mode == "capture":
        return {}
    answering = policy.mode == "live" and policy.certified_here
    suspended = {label for label in fires_unsuspended if label in policy.suspended} if answering else set()
    return audits.probabilities(route, fires, {*suspended, *sampled}, suspended, sampled, chances)


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
