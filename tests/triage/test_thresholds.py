"""A threshold is simulated once for all gateways, and a broken file is as good as none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.services import Data
from tests.triage.auditing import Audited, declare, lenient
from tests.triage.gateway_parts import Wired
from triage.auditing import thresholds
from triage.promise import bets
from triage.promise.bets import Promise

PROMISE = Promise(0.05, 0.05, 40)


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[Promise]:
    """The promises that were simulated, in order."""
    seen: list[Promise] = []
    real = bets.threshold.__wrapped__

    def counted(promise: Promise) -> float:
        seen.append(promise)
        return real(promise)

    monkeypatch.setattr(bets, "threshold", counted)
    return seen


def test_it_is_simulated_once(tmp_path: Path, simulated: list[Promise]) -> None:
    folder = tmp_path / "thresholds"
    first = thresholds.threshold(folder, PROMISE)
    assert first == bets.threshold(PROMISE)
    del simulated[:]
    assert thresholds.threshold(folder, PROMISE) == first
    assert simulated == []
    thresholds.threshold(folder, Promise(0.05, 0.1, 40))
    assert len(simulated) == 1
    assert len(list(folder.glob("*.json"))) == 2
    assert not list(folder.glob("*.partial"))


def test_another_procedure_is_simulated_anew(
    tmp_path: Path, simulated: list[Promise], monkeypatch: pytest.MonkeyPatch
) -> None:
    thresholds.threshold(tmp_path, PROMISE)
    monkeypatch.setattr(bets, "PROCEDURE", "another")
    thresholds.threshold(tmp_path, PROMISE)
    assert len(simulated) == 2


@pytest.mark.parametrize(
    "changes", [b"", b"{", b"\xff", {"threshold": None}, {"threshold": 1e9}, {"threshold": 0.5}, {"threshold": "NaN"},
                {"promise": {"error": 0.2, "alpha": 0.05, "horizon": 40}}, {"procedure": "older"}, {"more": 1}],
)  # fmt: skip
def test_a_broken_file_is_simulated_again_and_mended(
    tmp_path: Path, simulated: list[Promise], changes: bytes | dict[str, object]
) -> None:
    right = thresholds.threshold(tmp_path, PROMISE)
    (path,) = tmp_path.glob("*.json")
    good = path.read_bytes()
    path.write_bytes(changes if isinstance(changes, bytes) else json.dumps({**json.loads(good), **changes}).encode())
    assert thresholds.threshold(tmp_path, PROMISE) == right
    assert len(simulated) == 2
    assert path.read_bytes() == good


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path, simulated: list[Promise]) -> None:
    (tmp_path / "thresholds").write_text("a file")
    assert thresholds.threshold(tmp_path / "thresholds", PROMISE) == bets.threshold(PROMISE)


async def test_a_gateway_that_starts_again_does_not_simulate(
    data: Data, gateway: Wired, simulated: list[Promise]
) -> None:
    declare(data, lenient(data), horizon=100)
    audited = Audited(gateway)
    for _ in range(2):
        await audited.send(1)
        await audited.read()
        await audited.turn()
        await audited.gateway.reviews.run(("DEL", "sr:{default.review}:evidence:default red"))
    assert len(simulated) == 1
