"""Leasing and `/v1/leases`: what reviewers and the programs behind them use."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from model_store.record import EarlierReading
from triage.answers import when
from triage.errors import BadRequest, Forbidden
from triage.parts import Parts
from triage.reviewing.item import Lease, LeaseToken, project_of
from triage.routes.doors import named, permits, who
from triage.routes.queues import answerable
from triage.routes.replies import json_reply, png_reply
from triage.schemas import LeaseExtended, LeaseRequest, Leases, Problem

router = APIRouter(prefix="/v1", tags=["review"])
_LEASES = [Depends(permits("lease"))]
_LOST: dict[int | str, dict[str, Any]] = {404: {"model": Problem}, 409: {"model": Problem}, 503: {"model": Problem}}
_POLL_S = 0.1


async def token_of(request: Request, token: str) -> LeaseToken:
    try:
        found = LeaseToken.parse(token)
    except ValueError:
        raise BadRequest("this is no lease token; take one from POST /v1/queues/QUEUE/leases") from None
    if not found.held_by(who(request).subject):
        raise Forbidden("this lease was given to somebody else; take one of your own from POST /v1/queues/QUEUE/leases")
    return found


Token = Annotated[LeaseToken, Depends(token_of)]


@router.post("/queues/{queue}/leases", response_model=Leases, responses={404: {"model": Problem}}, dependencies=_LEASES)
async def lease(request: Request, queue: str, body: LeaseRequest) -> Response:
    """Takes up to `count` items, best first; with `case` the best one and what waits of its case, a hundred at most.

    They come back to the queue unless answered before the lease expires. An adjudicators' queue asks for that role.
    """
    parts: Parts = request.app.state.parts
    principal = who(request)
    reviewer = named(principal, body.reviewer)
    project = project_of(queue) or ""
    adjudicates = parts.desk.of_adjudicators(queue)
    if adjudicates and not principal.may("adjudicate", project):
        raise Forbidden(f"{queue} is read by adjudicators; ask an admin for that role")
    sites = principal.sites("adjudicate" if adjudicates else "lease", project)
    deadline = time.monotonic() + body.wait
    while not (
        leases := await parts.desk.lease(
            queue, reviewer, body.count, body.seconds, sites, principal.subject, body.case
        )
    ):  # fmt: skip
        if time.monotonic() >= deadline or parts.stopping.is_set():
            break
        await asyncio.sleep(_POLL_S)
        if await request.is_disconnected():
            break
    if leases and await request.is_disconnected():  # nobody will read them: they would be kept from everybody else
        for each in leases:
            await parts.desk.give_back(each.token)
        leases = []
    return json_reply({"items": [_leased(each) for each in leases], **answerable(parts, queue)})


@router.patch("/leases/{token}", response_model=LeaseExtended, responses=_LOST, dependencies=_LEASES)
async def extend(request: Request, token: Token) -> Response:
    parts: Parts = request.app.state.parts
    return json_reply({"expires_at": when(await parts.desk.extend(token))})


@router.get("/leases/{token}/image", responses={200: {"content": {"image/png": {}}}, **_LOST}, dependencies=_LEASES)
async def image(request: Request, token: Token) -> Response:
    """The leased image, decoded and encoded anew. By lease and not by prediction, which a blind item does not name."""
    parts: Parts = request.app.state.parts
    return await png_reply(parts, *await parts.desk.image(token))


@router.post("/leases/{token}/shown", response_model=LeaseExtended, responses=_LOST, dependencies=_LEASES)
async def shown(request: Request, token: Token) -> Response:
    """The reviewer sees the image now; a prefetched one does not count as seen."""
    parts: Parts = request.app.state.parts
    return json_reply({"expires_at": when(await parts.desk.shown(token))})


@router.delete("/leases/{token}", status_code=204, responses=_LOST, dependencies=_LEASES)
async def give_back(request: Request, token: Token) -> Response:
    parts: Parts = request.app.state.parts
    await parts.desk.give_back(token)
    return Response(status_code=204)


@router.post("/leases/{token}/skip", status_code=204, responses=_LOST, dependencies=_LEASES)
async def skip(request: Request, token: Token) -> Response:
    parts: Parts = request.app.state.parts
    await parts.desk.skip(token)
    return Response(status_code=204)


def _leased(lease: Lease) -> dict[str, object]:
    item = lease.item
    return {
        "token": str(lease.token), "expires_at": when(lease.expires_at), "item": item.id,
        "prediction": None if item.blind else item.prediction, "blind": item.blind, "project": item.project,
        "site": item.site, "case": item.case, "image": f"/v1/leases/{lease.token}/image",
        "reasons": [] if item.blind else list(item.reasons), "suggestions": [] if item.blind else list(item.suggestions),
        "received_at": when(item.received_at), "earlier": [_said(each) for each in item.earlier if item.adjudicates],
    }  # fmt: skip


def _said(reading: EarlierReading) -> dict[str, object]:
    return {
        "reviewer": reading.reviewer, "outcome": reading.outcome, "answers": reading.answers, "note": reading.note,
        "new_label": reading.new_label,
    }  # fmt: skip
