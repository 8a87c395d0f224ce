"""The short way in for images: straight to their route, past the framework's matching and its stacks.

The route itself is declared like any other, so that OpenAPI lists it; this calls the same function. Over a busy model every
microsecond before the decision is taken from the model's own cores.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from triage.routes import predictions
from triage.routes.replies import EXPECTED, problem_of

_ROUTE = predictions.images.routes[0]


class FrontDoor:
    """ASGI middleware. What is no POST of an image goes on as it came."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != predictions.PATH:
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE  # what requests are counted by
        try:
            reply = await predictions.predict(Request(scope, receive, send))
        except EXPECTED as error:
            reply = problem_of(error)
        await reply(scope, receive, send)
