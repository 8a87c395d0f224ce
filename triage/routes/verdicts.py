"""Answers: `/v1/leases/{token}/verdict` and `/escalate`, `/v1/verdicts/{verdict}/amend`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from model_store.record import VerdictRecord
from triage.answers import when
from triage.errors import BadRequest
from triage.parts import Parts
from triage.reviewing.amendments import Said
from triage.reviewing.item import project_of
from triage.reviewing.verdict_id import VerdictId
from triage.routes.doors import named, permits, who
from triage.routes.replies import json_reply
from triage.routes.reviewing import Token
from triage.schemas import AmendRequest, EscalateRequest, Problem, VerdictBody, VerdictRequest

router = APIRouter(prefix="/v1", tags=["review"])
_REFUSED: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (404, 409, 422, 503)}


@router.post(
    "/leases/{token}/verdict", response_model=VerdictBody, responses=_REFUSED, dependencies=[Depends(permits("lease"))]
)
async def verdict(request: Request, token: Token, body: VerdictRequest) -> Response:
    """Answers an item. Sent again with the same token it changes nothing and gives the first answer back.

    Until `held_until` it can be amended before anybody is told.
    """
    parts: Parts = request.app.state.parts
    subject = who(request).subject
    return _reply(
        await parts.answering.answer(token, body.outcome, dict(body.answers), body.new_label, body.note, subject)
    )


@router.post(
    "/leases/{token}/escalate", response_model=VerdictBody, responses=_REFUSED, dependencies=[Depends(permits("lease"))]
)
async def escalate(request: Request, token: Token, body: EscalateRequest) -> Response:
    """Leaves an item to the adjudicators of its queue, who are told what was said of it and by whom."""
    parts: Parts = request.app.state.parts
    return _reply(await parts.answering.escalate(token, body.note, who(request).subject))


@router.post(
    "/verdicts/{verdict}/amend", response_model=VerdictBody, responses={403: {"model": Problem}, **_REFUSED},
    dependencies=[Depends(permits("lease"))],
)  # fmt: skip
async def amend(request: Request, verdict: str, body: AmendRequest) -> Response:
    """Puts another answer in the place of one that was given, by whoever gave it, or by an adjudicator, who has the last word.

    `revision` is the one that is amended. While the verdict is held nobody has seen it; later a correction is sent. Sent again
    it changes nothing.
    """
    parts: Parts = request.app.state.parts
    principal = who(request)
    try:
        name = VerdictId.parse(verdict)
    except ValueError:
        raise BadRequest("this is no id of a verdict; POST /v1/leases/TOKEN/verdict returns one") from None
    reviewer = named(principal, body.reviewer)
    said = Said(body.outcome, dict(body.answers), body.new_label, body.note)
    sites = principal.sites("adjudicate", project_of(name.queue) or "")
    adjudicates = sites is None or bool(sites)
    return _reply(
        await parts.answering.amend(name, body.revision, said, reviewer, adjudicates, principal.subject, sites)
    )


def _reply(stands: VerdictRecord) -> Response:
    return json_reply(
        {
            "id": stands.id, "prediction": stands.prediction, "outcome": stands.outcome, "answers": stands.answers,
            "at": when(stands.at), "revision": stands.revision, "reviewer": stands.reviewer,
            "held_until": when(stands.at + round(1e6 * stands.hold_s)) if stands.hold_s else None,
        }
    )  # fmt: skip
