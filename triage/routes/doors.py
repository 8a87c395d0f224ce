"""Who comes in, and for what: every route names the permissions that it asks for, and what names none is shut.

`OPEN` lists what answers strangers. Every other path needs a principal, before its body is read and whatever else is wrong with
the request; tests/triage/test_roles.py walks the routes of the app.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from fastapi import Request
from fastapi.dependencies.models import Dependant
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from triage.access.principal import EVERYTHING, Principal
from triage.access.roles import Permission
from triage.errors import Forbidden, NotAuthorized, TooOften, TriageError
from triage.parts import Parts
from triage.reviewing.item import project_of
from triage.routes.replies import problem_of

OPEN = frozenset(
    {
        "/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/review",
        "/v2", "/v2/health/live", "/v2/health/ready",
    }
)  # fmt: skip
"""Liveness, readiness without names, numbers without ids, descriptions, and pages that hold no data."""
OPEN_BELOW = ("/static/",)
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])
_PRINCIPAL = "secondreader.principal"
log = logging.getLogger(__name__)


class Doors:
    """ASGI middleware: nobody passes whom the entrance does not know."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_open(scope["path"]):
            parts: Parts = scope["app"].state.parts
            peer = scope.get("client")
            try:
                scope[_PRINCIPAL] = await parts.entrance.who(Headers(scope=scope), peer[0] if peer else None)
            except TriageError as error:
                if isinstance(error, TooOften):
                    parts.metrics.limited.labels(error.limit).inc()
                await problem_of(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def who(request: Request) -> Principal:
    """Whoever asks. Raises NotAuthorized where `OPEN` lets strangers in."""
    principal: Principal | None = request.scope.get(_PRINCIPAL)
    if principal is None:
        raise NotAuthorized("nobody is asked for a key here; take the path out of OPEN")
    return principal


async def allow(
    request: Request, permission: Permission, project: str | None = None, site: str | None = None
) -> Principal:
    """Whoever asks, if they may. Raises NotAuthorized for nobody known, Forbidden for somebody who may not."""
    return await allow_any(request, (permission,), project, site)


async def allow_any(
    request: Request, permissions: tuple[Permission, ...], project: str | None = None, site: str | None = None
) -> Principal:
    """Whoever asks, if they may do one of these things at least."""
    principal = who(request)
    if not any(principal.may(permission, project, site) for permission in permissions):
        if not principal.grants:
            raise Forbidden(f"{principal.subject} is known here and has no role; ask an admin for one (docs/access.md)")
        where = " of " + "/".join(name for name in (project, site) if name) if project or site else ""
        # The route and not the path, in which there may be anything.
        asked = getattr(request.scope.get("route"), "path", "")
        log.warning("refused", extra={"subject": principal.subject, "asked": permissions, "route": asked})
        raise Forbidden(
            f"{principal.subject} may not do this{where} ({' or '.join(permissions)}); "
            "ask an admin for a role that may (docs/access.md)"
        )
    return principal


def named(principal: Principal, given: str | None, field: str = "reviewer") -> str:
    """Under whose name somebody acts: their own, or whom they name, if they may. Raises Forbidden."""
    if not given or given == principal.subject:
        return principal.subject
    if not principal.names_reviewers:
        raise Forbidden(
            f"{principal.subject} acts under their own name; leave {field!r} out, or use a key that names reviewers"
        )
    return given


class permits:
    """A FastAPI dependency: the principal, if it has one of these permissions where the path says.

    A path that names no project asks for it anywhere; what is the whole service's, and not a project's, asks `everywhere`; what
    is of all sites of a project and not of one asks `all_sites`, and where the path's name is a site's, `site_in="name"`.
    """

    def __init__(
        self, *permissions: Permission, everywhere: bool = False, all_sites: bool = False, site_in: str = "site"
    ) -> None:
        self.permissions = permissions
        self._everywhere = everywhere
        self._all_sites = all_sites
        self._site_in = site_in

    async def __call__(self, request: Request) -> Principal:
        if self._everywhere:
            return await allow_any(request, self.permissions, EVERYTHING, EVERYTHING)
        path = request.path_params
        project = path.get("project") or _project(path.get("queue") or path.get("token") or path.get("verdict"))
        site = path.get(self._site_in) or (EVERYTHING if self._all_sites else None)
        return await allow_any(request, self.permissions, project, site)


def asks(*permissions: Permission) -> Callable[[_Endpoint], _Endpoint]:
    """Says of a route's function that it calls `allow` itself, with these."""

    def said(endpoint: _Endpoint) -> _Endpoint:
        endpoint.asks = permissions  # type: ignore[attr-defined]
        return endpoint

    return said


def permissions_of(route: Any) -> tuple[Permission, ...]:
    """What a route of FastAPI's asks for; empty when it names nothing."""
    named = tuple(each for check in _checks(route.dependant) for each in check.permissions)
    return named or getattr(route.endpoint, "asks", ())


def _checks(dependant: Dependant) -> Iterator[permits]:
    for each in dependant.dependencies:
        if isinstance(each.call, permits):
            yield each.call
        yield from _checks(each)


def _project(place: str | None) -> str | None:
    """Of a queue's name, or of a lease token, which begins with it; None where it names no project."""
    return project_of(place.partition("~")[0]) if place else None


def is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_BELOW)
