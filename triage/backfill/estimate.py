"""What a backfill will cost, said before anything is sent. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any

LEAST = 100
"""Decisions below which the service's own share says too little."""
_DECISIONS = re.compile(r"^triage_decisions_total\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Estimate:
    images: int
    share: float
    """Of them, that are expected to go to people."""
    known_by: str
    reviews: int
    hours: float
    cost: float
    days: int
    """Until the last one may go to people, under the cap."""

    def told(self) -> dict[str, Any]:
        return asdict(self)


def estimate(images: int, share: float, known_by: str, seconds: float, wage: float, cap: int) -> Estimate:
    """`seconds` a review takes, `wage` an hour, `cap` reviews a day."""
    reviews = math.ceil(images * share)
    hours = reviews * seconds / 3600
    return Estimate(images, share, known_by, reviews, hours, hours * wage, math.ceil(reviews / cap))


def review_share(metrics: str, project: str, site: str) -> tuple[float, int] | None:
    """The share of a site's decisions that went to people, from the gateway's metrics, and of how many; None without any."""
    routes: dict[str, float] = {}
    for labels, value in _DECISIONS.findall(metrics):
        named = dict(_LABEL.findall(labels))
        if (named.get("project"), named.get("site")) == (project, site):
            routes[named["route"]] = routes.get(named["route"], 0.0) + float(value)
    total = sum(routes.values())
    return (routes.get("review", 0.0) / total, int(total)) if total else None
