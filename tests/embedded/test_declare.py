"""`up` and `demo` change nothing that they were not asked to change."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

import secondreader
from embedded.declare import declared, go_live
from embedded.process import StartError
from embedded.stack import Gateway
from model_store.errors import ModelStoreError
from tests import services


def document(url: str) -> dict[str, object]:
    found: dict[str, object] = httpx.get(f"{url}/v1/projects/default/sites/default", trust_env=False).json()
    return found


def test_going_live_keeps_suspensions(tmp_path: Path) -> None:
    data = services.make_data(tmp_path)
    data.declare(mode="assist", suspended=("red",))
    with (
        services.running_valkey(tmp_path / "valkey") as valkey,
        services.running_gateway(tmp_path, valkey.url) as gateway,
    ):
        go_live(gateway.url, data.bundle, data.rules)
        after = document(gateway.url)
        assert (after["mode"], after["suspended"], after["rules"]) == ("live", ["red"], data.rules.digest)
        go_live(gateway.url, data.bundle, None)
        assert document(gateway.url)["mode"] == "assist"


def test_a_folder_says_what_it_serves(tmp_path: Path) -> None:
    services.make_data(tmp_path)
    assert declared(tmp_path) == "colours/1"
    with pytest.raises(ModelStoreError, match="name one with --model"):
        declared(tmp_path / "nothing")


def test_a_folder_is_read_as_its_gateway_will_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services.make_data(tmp_path)
    monkeypatch.setenv("TRIAGE_TRUSTED_KEYS", str(tmp_path / "nobody"))
    with pytest.raises(ModelStoreError, match=r"cannot be served: .*nobody"):
        declared(tmp_path)
    monkeypatch.setenv("TRIAGE_LEASE_S", "0")
    result = CliRunner().invoke(secondreader.main, ["up", "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.startswith("Error: TRIAGE_LEASE_S: ")


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path) -> None:
    services.make_data(tmp_path)
    with (
        services.running_valkey(tmp_path / "valkey") as valkey,
        services.running_gateway(tmp_path, valkey.url) as gateway,
        pytest.raises(StartError, match=f"something listens on port {gateway.port} already"),
    ):
        Gateway(tmp_path, valkey.url, {"node": "second"}, gateway.port)


def test_the_demo_empties_no_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    result = CliRunner().invoke(secondreader.main, ["demo", "--once", "--folder", str(tmp_path)])
    assert result.exit_code == 1
    assert "is no folder of an earlier demo and would be emptied" in result.output
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
