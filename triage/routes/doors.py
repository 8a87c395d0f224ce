"""Who comes in, and for what: every route names the permission that it asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request

from triage.access.principal import LOCAL, Principal
from triage.access.roles import Permission
from triage.errors import Forbidden
from triage.routes.replies import authorize


async def allow(
    request: Request, permission: Permission, project: str | None = None, site: str | None = None
) -> Principal:
    """Whoever asks, if they may. Raises NotAuthorized for nobody known, Forbidden for somebody who may not."""
    await authorize(request)
    principal = LOCAL
    if not principal.may(permission, project, site):
        where = "".join(f" of {name}" for name in (site, project) if name)
        raise Forbidden(f"{principal.subject} may not do this{where} ({permission}); ask an admin for a role that may")
    return principal


def permits(permission: Permission) -> Callable[[Request], Awaitable[Principal]]:
    """A FastAPI dependency: the principal, for a route whose project and site are its path's, where it has them."""

    async def check(request: Request) -> Principal:
        return await allow(request, permission, request.path_params.get("project"), request.path_params.get("site"))

    return check
