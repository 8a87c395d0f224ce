"""`/v1/outcomes`: what was decided, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from prometheus_client import Gauge
from starlette.types import Receive, Scope, Send

from triage.errors import BadRequest, Busy, NotFound, TriageError
from triage.outcomes.hub import Hub
from triage.outcomes.listening import Asked, Listening, Wanted
from triage.outcomes.position import Position
from triage.parts import Parts
from triage.routes.doors import allow, asks
from triage.schemas import OutcomeType, Problem

router = APIRouter(prefix="/v1", tags=["outcomes"])
STALLED_S = 30.0
"""A listener that takes nothing for so long is cut off; it resumes when it connects again."""
NOW = "now"


class EventStream(Response):
    """Frames as they come. Ends with the listener, whatever it was doing, and as soon as it may listen no longer."""

    media_type = "text/event-stream"

    def __init__(
        self, frames: AsyncGenerator[bytes], first: bytes, hub: Hub, gauge: Gauge, may: Callable[[], Awaitable[bool]]
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._frames = frames
        self._first = first
        self._hub = hub
        self._gauge = gauge
        self._may = may

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = asyncio.create_task(_left(receive))
        told = asyncio.create_task(self._tell(send))
        self._hub.listening += 1
        self._gauge.inc()
        try:
            await asyncio.wait((left, told), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.listening -= 1
            self._gauge.dec()
            for task in (left, told):
                task.cancel()
            await asyncio.gather(left, told, return_exceptions=True)

    async def _tell(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._frames) as frames:
            body = self._first
            while body and await self._may():
                async with asyncio.timeout(STALLED_S):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                body = await anext(frames, b"")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get(
    "/outcomes",
    responses={200: {"content": {"text/event-stream": {}}}, **{code: {"model": Problem} for code in (400, 404, 429)}},
    response_class=Response,
)
@asks("outcomes")
async def outcomes(
    request: Request,
    project: Annotated[str | None, Query(max_length=64)] = None,
    queue: Annotated[str | None, Query(max_length=130)] = None,
    site: Annotated[tuple[str, ...], Query()] = (),
    type: Annotated[tuple[OutcomeType, ...], Query()] = (),
    automatic: bool = False,
    after: Annotated[str | None, Query(max_length=20_000)] = None,
) -> Response:
    """Finals, corrections and recalls as server-sent events of these names, at least once each: of a project, or of one queue.

    Resume with `Last-Event-ID`, or `after`; `after=now` leaves out what was said before. Deduplicate by prediction and
    revision. An event `gap` says that outcomes after that id are no longer kept.
    """
    parts: Parts = request.app.state.parts
    asked_for = queue.partition(".")[0] if queue else project
    principal = await allow(request, "outcomes", asked_for)
    of = asked_for or principal.project
    permitted = principal.sites("outcomes", of)
    for each in site:
        await allow(request, "outcomes", of, each)
    if queue is not None:
        await _known(parts, queue)
    elif of not in {each.project for each in parts.control.sites}:
        raise NotFound(f"there is no project {of!r}; declare a site with PUT /v1/projects/{of}/sites/SITE")
    if parts.hub.listening >= parts.settings.max_listeners:
        raise Busy(f"{parts.hub.listening} listen already; try again in a moment, or ask another gateway")
    start = request.headers.get("last-event-id") or after or "0"
    if automatic and type and "final" not in type:
        raise BadRequest("automatic answers are finals; leave out automatic, or ask for type=final too")
    asked = Asked(
        project=of,
        queue=queue,
        position=Position() if start == NOW else Position.parse(start),
        wanted=Wanted(frozenset(type) or None, frozenset(site) or permitted),
        automatic=automatic,
        only_new=start == NOW,
    )
    listening = Listening(parts.hub, asked, parts.settings.retention_s)
    frames = listening.frames()

    async def may() -> bool:
        """Whether the listener is let in as it was: a key that is revoked, or a grant that is taken back, hears no more."""
        try:
            now = await parts.entrance.again(request.headers, request.client.host if request.client else None)
        except TriageError:
            return False
        return now.sites("outcomes", of) == permitted

    return EventStream(frames, await anext(frames), parts.hub, parts.metrics.listeners, may)


async def _known(parts: Parts, queue: str) -> None:
    if queue not in await parts.reviews.queues():
        await parts.desk.known(queue)
