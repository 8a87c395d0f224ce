"""Some of the faults, with few callers and reviewers: nothing lost, nothing doubled. `make bench-faults` runs all of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.faults import FAULTS
from tests.faults.run import QUICK, run, small_disk

CHOSEN = (
    "killed after the verdict is accepted",
    "killed before the amended final is told",
    "Redis rewound",
    "journal's disk full",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHOSEN)
def test_nothing_is_lost_and_nothing_doubled(name: str, tmp_path: Path, require: Callable[[str, bool], None]) -> None:
    (fault,) = (each for each in FAULTS if each.name == name)
    if "{small}" in fault.settings.values():
        # A container without the right to mount has no small disk, also in CI: only root is expected to have one.
        root = os.geteuid() == 0
        try:
            with small_disk(tmp_path / "probe"):
                pass
        except PermissionError as error:
            if not root:
                pytest.skip(f"a small disk cannot be mounted ({error})")
            require(f"a small disk ({error})", False)
    found = run(fault, QUICK)
    assert found.judgement.predictions > 50
    assert found.judgement.verdicts > 20
    assert found.judgement.amendments > 5
    assert (found.judgement.lost, found.judgement.doubled) == ([], [])
    assert None not in found.normal_after_s.values()
