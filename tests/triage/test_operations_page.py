"""docs/operations.md tells every metric that there is, and none that is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram

from triage.metrics import Metrics

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations.md"
ALERTS = ROOT / "k8s" / "alerts.yaml"


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


@pytest.mark.parametrize("page", [PAGE, ALERTS], ids=["page", "alerts"])
def test_alarms_name_metrics_that_there_are(page: Path) -> None:
    known = {re.split("`", row)[1] for row in rows()} | {"triage_stage_duration_seconds"}
    named = set(re.findall(r"triage_[a-z_]+", page.read_text()))
    assert named
    assert named <= known


def test_alerts_have_what_prometheus_asks_of_a_rule() -> None:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    for rule in group["rules"]:
        assert rule["alert"]
        assert re.fullmatch(r"\d+m", rule["for"])
        assert rule["expr"]
        assert rule["annotations"].keys() == {"summary", "description"}
    waited = next(rule for rule in group["rules"] if rule["alert"].endswith("WaitedFor"))
    assert "by (node)" in waited["expr"]
    assert "$labels.node" in waited["annotations"]["summary"]
