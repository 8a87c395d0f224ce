"""`up` and `demo` change nothing that they were not asked to change."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

import secondreader
from embedded.commands import _until_told_to_stop
from embedded.declare import declared, go_live
from embedded.demo import rounded_down
from embedded.ports import free_ports
from embedded.process import StartError
from embedded.stack import Gateway, Stack
from model_store.conditions import Condition
from model_store.errors import ModelStoreError
from tests import bundles, services
from triage.journal.segments import nodes


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
        assert go_live(gateway.url, data.bundle, data.rules) is None
        after = document(gateway.url)
        assert (after["mode"], after["suspended"], after["rules"]) == ("live", ["red"], data.rules.digest)
        replaced = go_live(gateway.url, data.bundle, None)
        assert document(gateway.url)["mode"] == "assist"
        assert replaced is not None
        assert replaced.startswith(f"default/default was live with colours/1 by the rules {data.rules.digest}; ")
        assert f"--model colours/1 --rules {data.rules.digest} is the way back" in replaced
        assert go_live(gateway.url, data.bundle, None) is None, "nothing was replaced"


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


def test_the_gateway_of_a_stack_has_the_user_s_settings_beside_the_stack_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = services.make_data(tmp_path)
    condition = Condition(field="scanner", one_of=("x1",))
    strict = bundles.signed(tmp_path, bundles.sealed(data.rules, conditions=(condition,)))
    monkeypatch.setenv("TRIAGE_SOURCE_FIELDS", '["scanner"]')
    for name, value in {
        "DATA": str(tmp_path / "other"),
        "PORT": "1",
        "NODE": "mine",
        "CLASSIFIER": "inprocess",
    }.items():
        monkeypatch.setenv(f"TRIAGE_{name}", value)
    with services.running_valkey(tmp_path / "valkey") as valkey:
        monkeypatch.setenv("TRIAGE_REDIS_URL", valkey.url)
        with Stack(tmp_path, free_ports(1)[0]) as stack:
            gateway = stack.start_gateway(stack.start_redis(), "http://127.0.0.1:9")
            go_live(gateway.url, data.bundle, strict)
            assert document(gateway.url)["rules"] == strict.digest, "the field that they ask for is recorded"
        assert [each.name for each in nodes(tmp_path / "journal")] == ["embedded"]
        with Stack(tmp_path, free_ports(1)[0], without={"source_fields"}) as stack:
            gateway = stack.start_gateway(stack.start_redis(), "http://127.0.0.1:9")
            with pytest.raises(ModelStoreError, match="add 'scanner' to TRIAGE_SOURCE_FIELDS"):
                go_live(gateway.url, data.bundle, strict)


def test_a_gateway_that_ends_by_itself_ends_the_waiting(tmp_path: Path) -> None:
    services.make_data(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with (
            services.running_valkey(tmp_path / "valkey") as valkey,
            services.running_gateway(tmp_path, valkey.url) as gateway,
        ):
            gateway.process.kill()
            with pytest.raises(StartError, match=f"the gateway ended by itself; {gateway.process.log} says why"):
                _until_told_to_stop(gateway)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(("bound", "digits", "shown"), [(0.95745, 3, 0.957), (0.9576, 3, 0.957), (0.95, 3, 0.95),
                                                         (0.94996, 4, 0.9499)])  # fmt: skip
def test_a_lower_bound_is_rounded_down(bound: float, digits: int, shown: float) -> None:
    assert rounded_down(bound, digits) == shown
