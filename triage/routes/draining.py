"""While the gateway stops: what is under way is finished, what is new is sent elsewhere."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from triage.errors import Stopping
from triage.parts import Parts
from triage.routes.replies import problem_of

_TOLD = ("/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")
"""Answered to the end: by them one sees that it stops."""


class Draining:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts: Parts | None = getattr(scope["app"].state, "parts", None) if scope["type"] == "http" else None
        if parts is None or not parts.stopping.is_set() or scope["path"] in _TOLD:
            await self._app(scope, receive, send)
            return
        reply = problem_of(Stopping("this gateway stops; send this again, and another one takes it"))
        reply.headers["Connection"] = "close"
        await reply(scope, receive, send)
