"""`/v1/projects/{project}/webhooks/{name}`: what became of deliveries, and sending again. The document is of control."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from model_store.record import EventRecord
from triage.access.principal import Principal
from triage.control.kinds import NAME
from triage.ids import new_id, now_us
from triage.outcomes.ledger import Name
from triage.outcomes.position import Position
from triage.parts import Parts
from triage.routes.doors import permits
from triage.routes.replies import json_reply
from triage.schemas import Deliveries, Problem, Replay, Replayed

router = APIRouter(prefix="/v1/projects/{project}/webhooks/{name}", tags=["outcomes"])
_NONE: dict[int | str, dict[str, Any]] = {404: {"model": Problem}, 503: {"model": Problem}}
Project = Annotated[str, Path(pattern=NAME)]


@router.get(
    "/deliveries",
    response_model=Deliveries,
    responses=_NONE,
    dependencies=[Depends(permits("sites.read", all_sites=True))],
)
async def deliveries(
    request: Request, project: Project, name: Project, letters: Annotated[int, Query(ge=0, le=1000)] = 20
) -> Response:
    """Who delivers, how far, how the last try ended, and the newest dead letters."""
    parts: Parts = request.app.state.parts
    state = await parts.webhooks.state(Name(project, name), letters)
    state["letters"] = [
        {
            "message": letter.message, "outcome": msgspec.json.decode(letter.body), "why": letter.why,
            "tries": letter.tries,
        }
        for letter in state["letters"]
    ]  # fmt: skip
    return json_reply(state)


@router.delete("/gone", status_code=204, responses=_NONE)
async def back(
    request: Request, project: Project, name: Project,
    who: Annotated[Principal, Depends(permits("sites.manage", all_sites=True))],
) -> Response:  # fmt: skip
    """Sends again, from where it ended, to a receiver that had answered 410."""
    parts: Parts = request.app.state.parts
    await parts.webhooks.back(Name(project, name), who.subject)
    return Response(status_code=204)


@router.post("/replay", response_model=Replayed, responses={400: {"model": Problem}, **_NONE})
async def replay(
    request: Request, project: Project, name: Project, body: Replay,
    who: Annotated[Principal, Depends(permits("sites.manage", all_sites=True))],
) -> Response:  # fmt: skip
    """Sends again: everything after an id (`after`, as `Last-Event-ID` has it; `0` for all that is kept), or the dead letters
    (`dead`). Messages keep their `webhook-id`."""
    parts: Parts = request.app.state.parts
    webhook = Name(project, name)
    told: dict[str, Any] = {"from": {}, "letters": 0}
    if body.after is not None:
        told["from"] = await parts.webhooks.rewind(webhook, Position.parse(body.after))
    if body.dead:
        told["letters"] = await parts.webhooks.revive(webhook)
    await parts.recorder.record(
        EventRecord(
            id=new_id(), name="webhook_replayed", project=project, subject=name, actor=who.subject,
            detail={"after": body.after or "", "letters": str(told["letters"])}, at=now_us(),
        )
    )  # fmt: skip
    return json_reply(told)
