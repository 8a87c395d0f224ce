"""Secrets stand nowhere: no log, metric, reply, record or file of a gateway has a key or a token, whatever is sent."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from redis import Redis

import secondreader
from embedded.ports import free_ports
from embedded.stack import Gateway, Valkey
from tests.bundles import picture
from tests.services import eventually, make_data, running_gateway, running_valkey
from tests.triage.holders import Holder, holder
from tests.triage.provider import AUDIENCE, Provider, provider
from triage.routes.sealed import HEADERS

DEVELOPMENT = "kept-under-the-doormat-2718281828"
BETWEEN_US = "kept-between-proxy-and-gateway-31415"
ROOT = Path(__file__).parents[2]


@dataclass
class House:
    data: Path
    gateway: Gateway
    valkey: Valkey
    issuer: Provider
    keys: dict[str, Holder]
    replies: list[httpx.Response] = field(default_factory=list)

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        reply = httpx.request(method, self.gateway.url + path, headers=headers, trust_env=False, timeout=30, **options)
        self.replies.append(reply)
        return reply


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("secrets")
    data = make_data(folder / "data").folder
    keys = {
        "good": holder(data, "admin", "caller", "reviewer"),
        "expired": holder(data, "caller", expires_at=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)),
        "poor": holder(data, "reviewer", rate=0.001),
    }
    with (
        provider() as issuer,
        running_valkey(folder / "valkey") as server,
        running_gateway(
            data, server.url, api_key=DEVELOPMENT, proxy_header="X-User", proxy_networks='["127.0.0.0/8"]',
            proxy_secret=BETWEEN_US, oidc_issuer=issuer.url, oidc_audience=AUDIENCE, failures_per_minute="1",
        ) as gateway,
    ):  # fmt: skip
        yield House(data, gateway, server, issuer, keys)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_no_secret_is_written_or_said(house: House) -> None:
    good, issuer = house.keys["good"], house.issuer
    tokens = [issuer.token(), issuer.token(exp=1), issuer.token(aud="other"), issuer.token()[:-5] + "AAAAA"]
    tried = [each.key for each in house.keys.values()] + [
        DEVELOPMENT,
        *tokens,
        good.key[:-1],
        f"{good.key}x",
        DEVELOPMENT[:-1],
    ]
    for token in tried:
        for _ in range(2):
            house.ask("GET", "/v1/me", bearer(token))
        house.ask("POST", "/v1/predictions", bearer(token), content=picture("red"))
        house.ask("POST", "/v1/predictions", bearer(token), content=b"no image")
        house.ask("GET", "/v1/queues", {"Authorization": f"Basic {token}"})
        house.ask("GET", "/v1/queues", {"Authorization": token, "Cookie": f"key={token}"})
        house.ask("POST", "/v1/queues/default.review/leases", bearer(token), content=b"{broken")
        house.ask("PUT", "/v1/projects/x/sites/y", bearer(token), json={"mode": "no such"})
    for shown in (BETWEEN_US, BETWEEN_US[:-1]):
        house.ask("GET", "/v1/me", {"X-User": "ada", "X-Proxy-Secret": shown})
        house.ask("GET", "/v1/queues", {"X-User": "a~b", "X-Proxy-Secret": shown})
    for _ in range(80):  # until strangers are slowed down, of which the log tells too
        house.ask("GET", "/v1/me", bearer("wrong"))
    issuer.status = 503
    house.ask("GET", "/v1/me", bearer(issuer.token("one", header={"kid": "new"})))
    made = house.ask("POST", "/v1/keys", bearer(good.key), json={"subject": "x", "grants": [{"role": "caller"}]}).json()
    house.ask("DELETE", f"/v1/keys/{made['prefix']}", bearer(good.key))
    assert {reply.status_code for reply in house.replies} >= {200, 201, 401, 403, 415, 422, 429}

    eventually(lambda: "nobody was let in" in house.gateway.process.tail(10_000))
    written = {str(path.relative_to(house.data)): path.read_bytes() for path in house.data.rglob("*") if path.is_file()}
    with Redis.from_url(house.valkey.url) as redis:
        redis.save()
    for path in house.valkey.folder.rglob("*"):
        if path.is_file():
            written[f"valkey/{path.name}"] = path.read_bytes()
    written["metrics"] = house.ask("GET", "/metrics").content
    for at, reply in enumerate(house.replies):
        if reply.request.url.path != "/v1/keys":  # where a new key is told, once
            written[f"reply {at} to {reply.request.method} {reply.request.url.path}"] = (
                str(reply.headers).encode() + reply.content
            )
    assert any("gateway" in name and name.startswith("logs") for name in written)
    assert any(name.startswith("journal/") for name in written)
    secret_parts = [
        key.rsplit("_", 1)[-1] if key.startswith("sr_") else key for key in (*tried, made["key"], BETWEEN_US)
    ]
    secret_parts += [part for token in tokens for part in token.split(".")[1:]]
    for name, content in written.items():
        for secret in secret_parts:
            assert secret[:20].encode() not in content, f"{secret[:20]}... stands in {name}"


def test_every_reply_tells_browsers_what_not_to_do_with_it(house: House) -> None:
    good = bearer(house.keys["good"].key)
    asked = [
        ("GET", "/healthz", {}), ("GET", "/metrics", {}), ("GET", "/openapi.json", {}), ("GET", "/nowhere", {}),
        ("GET", "/v1/me", {}), ("GET", "/v1/me", good), ("GET", "/v1/nowhere", good), ("DELETE", "/v1/me", good),
        ("POST", "/v1/predictions", good), ("GET", "/", {}), ("OPTIONS", "/v1/queues", {"Origin": "https://evil.example"}),
        ("GET", "/v1/queues", {**good, "Origin": "https://evil.example"}), ("GET", "/static/nothing.js", {}),
    ]  # fmt: skip
    for method, path, headers in asked:
        reply = house.ask(method, path, headers)
        for name, value in HEADERS.items():
            assert reply.headers.get(name) == value, f"{method} {path}: {name}"
        assert not [name for name in reply.headers if name.startswith("access-control")]
        assert "server" not in reply.headers
    for page in ("/review", "/static/review/page.js"):
        reply = house.ask("GET", page)
        assert reply.status_code == 200
        assert "default-src 'none'; script-src 'self'" in reply.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        for name in set(HEADERS) - {"Content-Security-Policy", "Cache-Control"}:
            assert reply.headers[name] == HEADERS[name], f"{page}: {name}"


@pytest.mark.parametrize(
    "variables",
    [
        {"TRIAGE_API_KEY": DEVELOPMENT, "TRIAGE_HOST": "0.0.0.0"},
        {"TRIAGE_ADMIN_KEY_SHA256": DEVELOPMENT},
        {"TRIAGE_PROXY_SECRET": DEVELOPMENT},
        {"TRIAGE_PROXY_SECRET": DEVELOPMENT, "TRIAGE_PROXY_HEADER": "X-User"},
        {"TRIAGE_REDIS_URL": f"redis://:{DEVELOPMENT}@127.0.0.1:9", "TRIAGE_PORT": "none"},
    ],
    ids=" ".join,
)
def test_a_gateway_that_refuses_to_start_tells_no_secret(variables: dict[str, str], tmp_path: Path) -> None:
    environment = {**os.environ, "TRIAGE_DATA": str(tmp_path), "TRIAGE_PORT": str(free_ports(1)[0]), **variables}
    ended = subprocess.run(
        [sys.executable, "-m", "triage"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env=environment,
    )
    assert ended.returncode == 2
    assert "Error: " in ended.stderr
    assert DEVELOPMENT not in ended.stdout + ended.stderr


def test_doctor_tells_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_REDIS_URL", f"redis://:{DEVELOPMENT}@127.0.0.1:9/0")
    ended = CliRunner().invoke(secondreader.main, ["doctor", "--data", str(tmp_path)])
    assert ended.exit_code == 1
    assert "Redis does not answer" in ended.output
    assert DEVELOPMENT not in ended.output
