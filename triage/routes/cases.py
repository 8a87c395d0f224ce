"""`/v1/projects/P/sites/S/cases/C`: images that are decided together."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from triage.access.principal import Principal
from triage.answers import when
from triage.casework import unknown
from triage.index.cases import Case
from triage.parts import Parts
from triage.reviewing import cases
from triage.routes.doors import allow, allow_any, asks
from triage.routes.replies import json_reply
from triage.schemas import CaseBody, Problem

router = APIRouter(prefix="/v1/projects/{project}/sites/{site}/cases", tags=["cases"])
Name = Annotated[str, Path(min_length=1, max_length=200)]


@router.get("/{case}", response_model=CaseBody, responses={404: {"model": Problem}, 503: {"model": Problem}})
@asks("predictions.own", "predictions.all")
async def show(request: Request, project: str, site: str, case: Name) -> Response:
    """The case as it stands: `open` until it is closed, its images with what was decided of each."""
    principal = await allow_any(request, ("predictions.own", "predictions.all"), project, site)
    parts: Parts = request.app.state.parts
    return json_reply(_body(_seen(await parts.casework.read(project, site, case), principal)))


@router.post(
    "/{case}/close", response_model=CaseBody,
    responses={404: {"model": Problem}, 409: {"model": Problem}, 503: {"model": Problem}},
)  # fmt: skip
@asks("predict")
async def close(request: Request, project: str, site: str, case: Name) -> Response:
    """Decides the case now. One that is closed already stays as it is; an image that comes later opens it again."""
    principal = await allow(request, "predict", project, site)
    parts: Parts = request.app.state.parts
    _seen(await parts.casework.read(project, site, case), principal)
    return json_reply(_body(_seen(await parts.casework.close(project, site, case, principal.subject), principal)))


def _seen(case: Case, who: Principal) -> Case:
    """What somebody may see of a case: of callers, what they sent. Raises NotFound as for a case that nobody knows."""
    if who.may("predictions.all", case.project, case.site):
        return case
    mine = tuple(record for record in case.images if record.caller == who.subject)
    if not mine:
        raise unknown(case.project, case.site, case.name)
    return replace(case, images=mine)


def _body(case: Case) -> dict[str, object]:
    asking = [record for record in case.images if cases.asks(record)]
    answered = bool(asking) and not case.open and all(record.route == "automatic" for record in asking)
    return {
        "project": case.project, "site": case.site, "case": case.name, "status": "open" if case.open else "closed",
        "closes_at": None if case.due_ms is None else when(int(1e3 * case.due_ms)),
        "labels": sorted({label for record in asking for label in record.fires}) if answered else [],
        "images": [
            {
                "prediction": record.id, "role": record.role, "view": record.view, "route": record.route,
                "reasons": list(record.reasons), "labels": list(record.fires) if record.route == "automatic" else [],
                "received_at": when(record.received_at),
            }
            for record in case.images
        ],
    }  # fmt: skip
