"""Whether rules still let anything answer, in words: when they end, and conditions that no image can meet here. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Collection

from model_store.conditions import unrecorded
from model_store.rules import Rules

WARN = datetime.timedelta(days=30)
"""Before rules end: time to gather images and certify anew."""


def never_met(rules: Rules | None, recorded: Collection[str]) -> str | None:
    """A sentence about use conditions on metadata that this gateway does not record; None when there are none."""
    fields = unrecorded(rules.conditions, recorded) if rules else ()
    if not fields:
        return None
    names = ", ".join(repr(field) for field in fields)
    return (
        f"its rules have a use condition on {names}, which this gateway does not record, so that every image would go to a "
        f"person; add {names} to TRIAGE_SOURCE_FIELDS"
    )


def elsewhere(rules: Rules | None, project: str, site: str) -> str | None:
    """A sentence about rules that were certified for other sites; None also for rules without a certificate."""
    if rules is None or rules.valid_until is None or (project == rules.project and site in rules.sites):
        return None
    named = ", ".join(f"{rules.project}/{name}" for name in rules.sites)
    return f"its rules are certified for {named}, so that it only assists; certify with its own images"


def expired(rules: Rules | None, now: datetime.datetime) -> str | None:
    """A sentence about rules that have ended."""
    if rules is None or rules.valid_until is None or now < rules.valid_until:
        return None
    return f"its rules ended on {rules.valid_until:%Y-%m-%d}, so that it only assists; certify again and name the new rules"


def expiring(rules: Rules | None, now: datetime.datetime) -> str | None:
    """A sentence about rules that end within `WARN`."""
    if rules is None or rules.valid_until is None or expired(rules, now) or rules.valid_until - now > WARN:
        return None
    days = (rules.valid_until - now).days
    return f"its rules end on {rules.valid_until:%Y-%m-%d}, in {days} days, and then it only assists; certify again"
