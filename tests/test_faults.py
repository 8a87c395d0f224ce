"""The fault suite's own parts: every step has its name in the code, and the page shows the table that was measured."""

from __future__ import annotations

import json
import re

import pytest

from tests.faults.faults import AMENDMENT, FAULTS, PREDICTION, VERDICT
from tests.faults.launcher import find
from tests.faults.table import PAGE, RESULTS, shown


@pytest.mark.parametrize("place", sorted({*PREDICTION.values(), *VERDICT.values(), *AMENDMENT.values()}))
def test_where_a_gateway_is_to_die_there_is_a_function(place: str) -> None:
    owner, name = find(place)
    assert callable(getattr(owner, name))


@pytest.mark.parametrize("place", ["triage.recorder:Recorder.gone", "triage.recorder:Gone.record", "triage.gone:x"])
def test_a_wrong_name_is_told(place: str) -> None:
    with pytest.raises((AttributeError, ImportError)):
        find(place)


def test_every_fault_was_run_and_nothing_was_lost_or_doubled() -> None:
    found = json.loads(RESULTS.read_text())
    assert [row["fault"] for row in found["faults"]] == [fault.name for fault in FAULTS]
    assert {row["fault"] for row in found["faults"] if row["lost"] or row["doubled"]} == set()
    assert (found["size"]["callers"], found["size"]["reviewers"]) == (64, 16)
    assert {"cpu", "cores", "python"} <= found.keys()


def test_the_page_shows_the_table_that_was_measured() -> None:
    page, found = PAGE.read_text(), json.loads(RESULTS.read_text())
    assert shown(found["faults"]) in page
    size = found["size"]
    for said in (f"{size['callers']} callers", f"{size['reviewers']} reviewers", f"{len(found['faults'])} faults"):
        assert said in page


def test_the_page_tells_what_to_do_in_every_kind_of_fault() -> None:
    sections = set(re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE))
    assert sections >= {"A gateway", "Redis", "The model", "The network", "Disks", "Control documents", "Clocks"}
