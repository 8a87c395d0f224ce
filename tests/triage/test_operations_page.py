"""docs/operations.md tells every metric that there is, and none that is not."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from triage.metrics import Metrics

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def rows() -> list[str]:
    """As they stand in the page, in the registry's order."""
    found = []
    for metric in vars(Metrics()).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            name = metric._name + ("_total" if isinstance(metric, Counter) else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "none"
            found.append(f"| `{name}` | {labels} | {metric._documentation} |")
    return found


def test_the_page_has_every_metric() -> None:
    told = [line for line in PAGE.read_text().splitlines() if re.match(r"\| `triage_", line)]
    stages = "| `triage_stage_duration_seconds` | `stage` | Stages of a prediction. |"
    assert sorted(told) == sorted([*rows(), stages])


def test_alarms_name_metrics_that_there_are() -> None:
    known = {re.split("`", row)[1] for row in rows()} | {"triage_stage_duration_seconds"}
    assert set(re.findall(r"triage_[a-z_]+", PAGE.read_text())) <= known
