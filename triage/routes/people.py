"""`GET /v1/projects/P/people/figures`: how people read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from triage.control.kinds import NAME
from triage.parts import Parts
from triage.routes.doors import permits
from triage.routes.replies import json_reply
from triage.schemas import PeopleFigures, Problem

router = APIRouter(prefix="/v1", tags=["review"])


@router.get(
    "/projects/{project}/people/figures", response_model=PeopleFigures,
    responses={404: {"model": Problem}, 503: {"model": Problem}}, dependencies=[Depends(permits("people.manage"))],
)  # fmt: skip
async def figures(
    request: Request, project: Annotated[str, Path(pattern=NAME)], days: Annotated[float, Query(gt=0, le=3660)] = 30
) -> Response:
    """Right on golds, agreeing with one another, accepting suggestions right or wrong, seconds from shown; of the last `days`.

    Read from the log, and so of everything that gateways have archived and of what this one has not yet.
    """
    parts: Parts = request.app.state.parts
    return json_reply((await parts.people.figures(project, days)).told())
