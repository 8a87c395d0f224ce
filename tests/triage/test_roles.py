"""Routes x roles: every route of the app, every role, allowed or refused; and strangers.

A new route fails here until it stands in `PLACED`: whoever adds one says in this table, too, who is meant to come in.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import Mount, Route

from tests.services import make_data, running_gateway, running_valkey
from tests.triage.holders import Holder, holder
from tests.triage.serving import problem
from triage.access.principal import DEVELOPMENT, LOCAL
from triage.access.roles import PERMISSIONS, ROLES, Role
from triage.app import create_app
from triage.reviewing.item import nonce
from triage.routes.doors import is_open, permissions_of
from triage.settings import Settings

PLACED = {
    "predict": [
        "POST /v1/predictions", "POST /v1/predictions/{prediction_id}/truth",
        "POST /v1/projects/{project}/sites/{site}/cases/{case}/close",
        "GET /v2/models/{model}", "GET /v2/models/{model}/versions/{version}",
        "GET /v2/models/{model}/ready", "GET /v2/models/{model}/versions/{version}/ready",
        "POST /v2/models/{model}/infer", "POST /v2/models/{model}/versions/{version}/infer",
    ],
    "predictions.own predictions.all": [
        "GET /v1/predictions/{prediction_id}", "GET /v1/predictions/{prediction_id}/truth",
        "GET /v1/projects/{project}/sites/{site}/cases/{case}",
    ],
    "predictions.own images": [
        "GET /v1/predictions/{prediction_id}/image", "GET /v1/predictions/{prediction_id}/evidence",
    ],
    "outcomes": ["GET /v1/outcomes"],
    "lease": [
        "POST /v1/queues/{queue}/leases", "PATCH /v1/leases/{token}", "DELETE /v1/leases/{token}",
        "GET /v1/leases/{token}/image", "POST /v1/leases/{token}/shown", "POST /v1/leases/{token}/skip",
        "POST /v1/leases/{token}/verdict", "POST /v1/leases/{token}/escalate", "POST /v1/verdicts/{verdict}/amend",
    ],
    "queues.read": [
        "GET /v1/queues", "GET /v1/queues/{queue}", "GET /v1/projects/{project}/queues",
        "GET /v1/projects/{project}/queues/{name}",
    ],
    "queues.manage": [
        "PUT /v1/projects/{project}/queues/{name}", "DELETE /v1/projects/{project}/queues/{name}",
        "GET /v1/projects/{project}/golds", "POST /v1/projects/{project}/golds",
        "GET /v1/projects/{project}/golds/{name}", "PUT /v1/projects/{project}/golds/{name}",
        "DELETE /v1/projects/{project}/golds/{name}",
        "GET /v1/queues/{queue}/dead", "POST /v1/queues/{queue}/dead/{item}/requeue",
    ],
    "people.manage": [
        "GET /v1/projects/{project}/people/figures", "GET /v1/projects/{project}/people",
        "GET /v1/projects/{project}/people/{name}",
        "PUT /v1/projects/{project}/people/{name}", "DELETE /v1/projects/{project}/people/{name}",
    ],
    "people.manage queues.manage": ["DELETE /v1/queues/{queue}/reviewers/{name}/leases"],
    "log.read": ["GET /v1/projects/{project}/holds", "GET /v1/projects/{project}/holds/{name}"],
    "purge": ["PUT /v1/projects/{project}/holds/{name}", "DELETE /v1/projects/{project}/holds/{name}"],
    "sites.read": [
        "GET /v1/projects/{project}/sites", "GET /v1/projects/{project}/sites/{site}",
        "GET /v1/projects/{project}/sites/{site}/monitor", "GET /v1/models/{name}/{version}", "GET /v1/rules/{digest}",
        "GET /v1/switch", "GET /v1/projects/{project}/switch",
        "GET /v1/projects/{project}/retention", "GET /v1/projects/{project}/retention/{name}",
        "GET /v1/projects/{project}/webhooks", "GET /v1/projects/{project}/webhooks/{name}",
        "GET /v1/projects/{project}/webhooks/{name}/deliveries",
    ],
    "sites.manage": [
        "PUT /v1/projects/{project}/sites/{site}",
        "PUT /v1/projects/{project}/retention/{name}", "DELETE /v1/projects/{project}/retention/{name}",
        "PUT /v1/projects/{project}/webhooks/{name}", "DELETE /v1/projects/{project}/webhooks/{name}",
        "POST /v1/projects/{project}/webhooks/{name}/replay", "DELETE /v1/projects/{project}/webhooks/{name}/gone",
    ],
    "suspend": [
        "POST /v1/projects/{project}/sites/{site}/classes/{label}/suspend",
        "POST /v1/projects/{project}/sites/{site}/classes/{label}/resume",
        "PUT /v1/switch", "DELETE /v1/switch", "PUT /v1/projects/{project}/switch", "DELETE /v1/projects/{project}/switch",
    ],
    " ".join(PERMISSIONS): ["GET /v1/me"],
    "keys": [
        "GET /v1/keys", "POST /v1/keys", "DELETE /v1/keys/{prefix}", "GET /v1/access", "PUT /v1/access", "DELETE /v1/access",
    ],
}  # fmt: skip
"""Permissions, any of which will do -> routes."""
ASKS = {route: frozenset(names.split()) for names, routes in PLACED.items() for route in routes}
SAMPLES = {
    "prefix": "abcdefgh",
    "queue": "nowhere.review", "token": "nowhere.review~item~1~0000", "version": "1", "verdict": "nowhere.review~item~0000",
    "digest": f"sha256:{64 * '0'}",
}  # fmt: skip
"""Of path parameters; every other is `nowhere`."""


def routes() -> dict[str, RouteContext]:
    """Every route that FastAPI serves and that is not open, as `METHOD path`."""
    found = {}
    for route in iter_route_contexts(create_app(Settings.load(data=Path("nowhere"))).routes):
        if isinstance(route.original_route, APIRoute) and not is_open(str(route.path)):
            found.update({f"{method} {route.path}": route for method in route.methods or ()})
    return found


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("roles")
    data = make_data(folder / "data").folder
    keys: dict[str, Holder] = {role: holder(data, role) for role in ROLES}
    keys["expired"] = holder(data, "admin", expires_at=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    keys["elsewhere"] = holder(data, *ROLES, projects=("elsewhere",))
    with (
        running_valkey(folder / "valkey") as server,
        running_gateway(data, server.url, failures_per_minute="100000") as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=30) as http,
    ):
        yield Gate(keys, http)


@dataclass(frozen=True)
class Gate:
    keys: dict[str, Holder]
    http: httpx.Client

    def ask(self, route: str, headers: dict[str, str], holder: str = "", **options: bytes) -> httpx.Response:
        """The reply's head: some routes stream without end. A lease's token is one that was given to `holder`."""
        method, path = route.split(" ")
        samples = {**SAMPLES, "token": f"nowhere.review~item~1~{nonce(holder)}"}
        path = re.sub(r"{(\w+)}", lambda name: samples.get(name[1], "nowhere"), path)
        with self.http.stream(method, path, headers=headers, **options) as reply:  # type: ignore[arg-type]
            if reply.status_code != 200:
                reply.read()
            return reply


def test_every_route_names_a_permission_or_is_known_to_be_open() -> None:
    for route in iter_route_contexts(create_app(Settings.load(data=Path("nowhere"))).routes):
        if isinstance(route.original_route, APIRoute):
            named = permissions_of(route)
            assert bool(named) != is_open(str(route.path)), (
                f"{route.path} is open to all, and asks for {named}; take it out of OPEN or its permission away"
                if named
                else f"{route.path} names no permission; give it one with permits(...)"
            )
        elif isinstance(route.original_route, Mount):
            assert is_open(f"{route.original_route.path}/"), f"{route.original_route.path} is mounted and open to all"
        else:
            assert isinstance(route.original_route, Route)
            assert is_open(route.original_route.path), f"{route.original_route.path} asks nobody"


def test_every_route_is_placed_where_it_asks() -> None:
    found = {name: frozenset(permissions_of(route)) for name, route in routes().items()}
    assert found == ASKS, "place the route in PLACED, with who is meant to come in"
    assert frozenset().union(*ASKS.values()) <= set(PERMISSIONS)


@pytest.mark.parametrize("route", ASKS)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_comes_in_where_the_table_says(gate: Gate, route: str, role: Role) -> None:
    reply = gate.ask(route, gate.keys[role].headers, role)
    if ASKS[route] & ROLES[role]:
        assert reply.status_code not in (401, 403, 500), reply.text
    else:
        said = problem(reply, 403, f"{role} may not do this", "ask an admin for a role that may")
        assert any(permission in said.detail for permission in ASKS[route])


@pytest.mark.parametrize("route", ASKS)
def test_strangers_are_refused_before_anything_else(gate: Gate, route: str) -> None:
    wrong = [
        {}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer"}, {"Authorization": "Basic YTpi"},
        {"Authorization": gate.keys["admin"].key}, {"Authorization": f"Bearer {gate.keys['admin'].key}x"},
        {"Cookie": f"key={gate.keys['admin'].key}"}, {"X-Proxy-Secret": "x", "X-Forwarded-User": "admin"},
        gate.keys["expired"].headers,
    ]  # fmt: skip
    for headers in wrong:
        reply = gate.ask(route, {**headers, "Content-Type": "application/json"}, content=b"{no json")
        problem(reply, 401)
        assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("route", [route for route in ASKS if re.search("{project}|{queue}|{token}", route)])
def test_who_has_every_role_elsewhere_has_none_here(gate: Gate, route: str) -> None:
    problem(gate.ask(route, gate.keys["elsewhere"].headers), 403, "may not do this of nowhere")


def test_a_path_that_is_none_asks_for_a_key_too(gate: Gate) -> None:
    for path in ("/v1/never/heard/of", "/v9", "/static/../v1/queues", "/healthz/x", "/metrics/x", "/reviews"):
        assert gate.http.get(path).status_code in (401, 404), path
    problem(gate.http.get("/v1/never/heard/of"), 401)
    problem(gate.http.get("/v1/never/heard/of", headers=gate.keys["caller"].headers), 404)


def test_no_role_does_everything_and_the_development_key_does() -> None:
    for role, held in ROLES.items():
        assert held < set(PERMISSIONS), role
    for principal in (LOCAL, DEVELOPMENT):
        assert all(principal.may(permission) for permission in PERMISSIONS)
    assert frozenset().union(*ROLES.values()) == set(PERMISSIONS)
