"""What the log holds, counted in one pass: images, routes, reasons, verdicts, by project and site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from model_store.record import PredictionRecord, Record, VerdictRecord, table_of
from triage.archive.layout import date_of


@dataclass
class SiteStats:
    """Of one site. A prediction counts with its first revision, so that an image counts once."""

    predictions: int = 0
    again: int = 0
    """Later revisions: decided again after the model came back, or with their case."""
    routes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    """Class -> automatic answers with it."""
    verdicts: Counter[str] = field(default_factory=Counter)
    reviewers: set[str] = field(default_factory=set)
    first: str = ""
    last: str = ""


def stats(records: Iterable[Record]) -> dict[str, Any]:
    """Counts as JSON: rows by table, and what each site saw."""
    tables: Counter[str] = Counter()
    sites: dict[str, SiteStats] = {}
    for record in records:
        tables[table_of(record)] += 1
        if not isinstance(record, PredictionRecord | VerdictRecord):
            continue
        site = sites.setdefault(f"{record.project}/{record.site}", SiteStats())
        day = date_of(record)
        site.first, site.last = min(site.first or day, day), max(site.last, day)
        if isinstance(record, VerdictRecord):
            site.verdicts[record.outcome] += 1
            site.reviewers.add(record.reviewer)
            continue
        if record.revision > 1:
            site.again += 1
            continue
        site.predictions += 1
        site.routes[record.route] += 1
        site.reasons.update(record.reasons)
        if record.route == "automatic":
            site.answered.update(record.fires)
    return {
        "rows": dict(tables),
        "sites": {
            name: {
                "predictions": site.predictions, "decided_again": site.again, "routes": dict(site.routes),
                "reasons": dict(site.reasons), "answered": dict(site.answered), "verdicts": dict(site.verdicts),
                "reviewers": len(site.reviewers), "first": site.first, "last": site.last,
            }
            for name, site in sorted(sites.items())
        },
    }  # fmt: skip
