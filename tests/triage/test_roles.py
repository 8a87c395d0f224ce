"""Routes x roles: every route of the app names what it asks for, and nobody else gets through."""

from __future__ import annotations

from pathlib import Path

from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import Mount, Route

from triage.app import create_app
from triage.routes.doors import is_open, permissions_of
from triage.settings import Settings


def routes(tmp_path: Path) -> list[RouteContext]:
    return list(iter_route_contexts(create_app(Settings.load(data=tmp_path)).routes))


def test_every_route_names_a_permission_or_is_known_to_be_open(tmp_path: Path) -> None:
    found = routes(tmp_path)
    assert len(found) > 20
    for route in found:
        if isinstance(route.original_route, APIRoute):
            assert route.path is not None
            named = permissions_of(route)
            assert bool(named) != is_open(route.path), (
                f"{route.path} is open to all, and asks for {named}; take it out of OPEN or its permission away"
                if named
                else f"{route.path} names no permission; give it one with permits(...)"
            )
        elif isinstance(route.original_route, Mount):
            assert is_open(f"{route.original_route.path}/"), f"{route.original_route.path} is mounted and open to all"
        else:
            assert isinstance(route.original_route, Route)
            assert is_open(route.original_route.path), f"{route.original_route.path} asks nobody"
