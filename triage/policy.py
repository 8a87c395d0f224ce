"""From a decision to a route. Pure, and it only takes answers away.

An answerable image goes out as `automatic` unless operations know better: the site captures or assists, the rules were not
made for this site or have expired, a declared use condition is not met, the control state is stale, a label that must
always be read fires, or the image's case is still open or goes to people as a whole. Every reason that holds is listed, in the
order of `REASONS`; an automatic answer has none.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from model_store.conditions import failing
from model_store.record import PolicySnapshot, PredictionRecord, Route
from model_store.rules import Rules

REASONS = (
    "none_fired", "undecided_label", "atypical", "conflict", "class_suspended", "always_review", "out_of_scope", "audit",
    "gold", "model_unavailable", "control_stale", "site_capturing", "site_assisting", "case_open", "case_undecided",
)  # fmt: skip
"""The closed enum of reasons, in the order in which they are reported. `audit` and `gold` are words of the interface that no
route gives: what is drawn for an audit is told to nobody."""


def certified_here(rules: Rules, record: PredictionRecord, provider: str, precision: str) -> bool:
    """Whether the rules hold for what ran where and when: they have certificates, none of which had ended when the image came,
    and name its project, site, provider and precision."""
    until = rules.valid_until
    return (
        until is not None
        and datetime.datetime.fromtimestamp(record.received_at / 1e6, datetime.UTC) < until
        and record.project == rules.project
        and record.site in rules.sites
        and (provider, precision) == (rules.provider, rules.precision)
    )


def out_of_scope(rules: Rules, record: PredictionRecord) -> tuple[str, ...]:
    """Metadata fields of the record that fail the rules' use conditions, or that it lacks."""
    if not rules.conditions:
        return ()
    known = {**record.source, "role": record.role}
    return failing(rules.conditions, known if record.view is None else {**known, "view": record.view})


@dataclass(frozen=True)
class Routing:
    route: Route
    reasons: tuple[str, ...]


def without_suspensions(
    policy: PolicySnapshot, *, answerable: bool, decision_reasons: Collection[str], fires: Collection[str]
) -> Routing:
    """Where one image would go if no class were suspended; the rest is what the decision says without suspensions."""
    free = msgspec.structs.replace(policy, suspended=())
    return route(free, answerable=answerable, decision_reasons=decision_reasons, fires=fires, fires_unsuspended=fires)


def route(
    policy: PolicySnapshot,
    *,
    answerable: bool,
    decision_reasons: Collection[str],
    fires: Collection[str],
    fires_unsuspended: Collection[str],
    answerable_unsuspended: bool = False,
) -> Routing:
    """Where one image goes.

    `fires` are the labels that fire under the policy's suspensions, `fires_unsuspended` those that would without them;
    `answerable_unsuspended` whether the image would be answerable without them, for want of an absence maybe.
    """
    reasons = set(decision_reasons) if policy.available else set()
    if set(fires_unsuspended) & set(policy.suspended) or (answerable_unsuspended and not answerable):
        reasons.add("class_suspended")
    if set(fires) & set(policy.always_review):
        reasons.add("always_review")
    if policy.out_of_scope:
        reasons.add("out_of_scope")
    if not policy.available:
        reasons.add("model_unavailable")
    if policy.control_stale:
        reasons.add("control_stale")
    if policy.mode == "capture":
        reasons.add("site_capturing")
    elif policy.mode == "assist" or (policy.available and not policy.certified_here):
        reasons.add("site_assisting")
    if policy.case == "open":
        reasons.add("case_open")
    elif policy.case == "undecided":
        reasons.add("case_undecided")
    ordered = tuple(reason for reason in REASONS if reason in reasons)
    if policy.mode == "capture" or policy.case == "open":
        return Routing("captured", ordered)
    return Routing("review" if reasons or not answerable else "automatic", ordered)
