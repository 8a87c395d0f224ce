"""`up` gets into its own gateway, whoever else needs a key for it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from embedded.declare import go_live, key_of_this_run
from embedded.ports import free_ports
from embedded.stack import Stack
from tests import services
from tests.triage.holders import holder


def test_without_any_keys_there_is_none(tmp_path: Path) -> None:
    assert key_of_this_run(tmp_path) is None


def test_a_given_key_is_the_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_API_KEY", "open sesame")
    monkeypatch.setenv("TRIAGE_HOST", "0.0.0.0")  # the stack listens on loopback, whatever the environment says
    assert key_of_this_run(tmp_path) == "open sesame"


@pytest.mark.parametrize("way", ["keys", "provider", "proxy"])
def test_where_others_need_keys_the_run_has_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    data = services.make_data(tmp_path)
    reader = holder(tmp_path, "auditor") if way == "keys" else None
    if way == "provider":
        monkeypatch.setenv("TRIAGE_OIDC_ISSUER", "http://127.0.0.1:9")
        monkeypatch.setenv("TRIAGE_OIDC_AUDIENCE", "us")
    if way == "proxy":
        monkeypatch.setenv("TRIAGE_PROXY_HEADER", "X-User")
        monkeypatch.setenv("TRIAGE_PROXY_NETWORKS", '["10.0.0.0/8"]')
    key = key_of_this_run(tmp_path)
    assert key is not None
    assert key != key_of_this_run(tmp_path)
    monkeypatch.setenv("TRIAGE_CLASSIFIER", "inprocess")
    with services.running_valkey(tmp_path / "valkey") as valkey:
        monkeypatch.setenv("TRIAGE_REDIS_URL", valkey.url)
        with Stack(tmp_path, free_ports(1)[0]) as stack:
            gateway = stack.start_gateway(stack.start_redis(), "http://127.0.0.1:9", key)
            go_live(gateway.url, data.bundle, data.rules, key)
            site = f"{gateway.url}/v1/projects/default/sites/default"
            assert httpx.get(site, trust_env=False).status_code == 401
            if reader is not None:
                assert httpx.get(site, headers=reader.headers, trust_env=False).status_code == 200
