"""`/v1/queues`: what waits, what was set aside, and whose items go back. Leasing is in reviewing.py."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from triage.answers import when
from triage.errors import Forbidden, NotFound
from triage.parts import Parts
from triage.reviewing.item import DeadLetter, project_of
from triage.routes.doors import permits, who
from triage.routes.replies import json_reply
from triage.schemas import DeadItem, Problem, QueueBody, Returned

router = APIRouter(prefix="/v1/queues", tags=["queues"])
_READS = [Depends(permits("queues.read"))]
_MANAGES = [Depends(permits("queues.manage"))]
_NONE: dict[int | str, dict[str, Any]] = {404: {"model": Problem}, 503: {"model": Problem}}
Reviewer = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f~]+$")]


@router.get("", response_model=list[QueueBody], dependencies=_READS)
async def queues(request: Request) -> Response:
    parts: Parts = request.app.state.parts
    principal = who(request)
    names = [name for name in await parts.desk.queues() if principal.may("queues.read", project_of(name))]
    return json_reply([await _queue(parts, name) for name in names])


@router.get("/{queue}", response_model=QueueBody, responses=_NONE, dependencies=_READS)
async def queue(request: Request, queue: str) -> Response:
    return json_reply(await _queue(request.app.state.parts, queue))


@router.get("/{queue}/dead", response_model=list[DeadItem], responses=_NONE, dependencies=_MANAGES)
async def dead(request: Request, queue: str, count: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
    """Dead letters: items whose lease expired too often without an answer, the latest first. Nobody is given them."""
    parts: Parts = request.app.state.parts
    sites = _managed(request, queue)
    letters = await parts.sweeping.dead(queue, count)
    return json_reply([_letter(each) for each in letters if sites is None or each.item.site in sites])


@router.post(
    "/{queue}/dead/{item}/requeue", status_code=204, responses={**_NONE, 409: {"model": Problem}}, dependencies=_MANAGES
)
async def requeue(request: Request, queue: str, item: str) -> Response:
    """Puts a dead letter back, at its old place and with all its attempts."""
    parts: Parts = request.app.state.parts
    if (sites := _managed(request, queue)) is not None:
        letters = await parts.reviews.dead(queue, 1, item)
        if any(each.item.site not in sites for each in letters):
            raise Forbidden(
                f"{item} is of a site that {who(request).subject} does not manage; ask an admin for that site"
            )
    await parts.sweeping.requeue(queue, item, who(request).subject)
    return Response(status_code=204)


@router.delete(
    "/{queue}/reviewers/{name}/leases", response_model=Returned, responses=_NONE,
    dependencies=[Depends(permits("people.manage", "queues.manage"))],
)  # fmt: skip
async def leave(request: Request, queue: str, name: Reviewer) -> Response:
    """Returns what somebody has who went away. It costs the items no attempt."""
    parts: Parts = request.app.state.parts
    return json_reply({"returned": await parts.desk.leave(queue, name)})


def _managed(request: Request, queue: str) -> frozenset[str] | None:
    """The sites of whose dead letters somebody may know; None: of all."""
    return who(request).sites("queues.manage", project_of(queue) or "")


async def _queue(parts: Parts, name: str) -> dict[str, object]:
    try:
        await parts.desk.known(name)
        labels = answerable(parts, name)
    except NotFound:
        if name not in await parts.reviews.queues():
            raise
        # Its sites are gone and its items are not: they must not be hidden.
        labels = {"labels": [], "groups": [], "escalates": False}
    stats = await parts.reviews.stats(name, parts.desk.document(name).sla_s)
    return {
        "queue": name, "waiting": stats.waiting, "leased": stats.leased, "oldest_age_seconds": stats.oldest_age_s,
        "overdue": stats.overdue, "dead": stats.dead, "answered_last_hour": stats.answered, "reasons": stats.reasons,
        **labels,
    }  # fmt: skip


def answerable(parts: Parts, queue: str) -> dict[str, object]:
    """What a reviewer can say: the labels, which of them exclude one another, that somebody else decides. Raises NotFound."""
    schema = parts.desk.labels(queue)
    return {
        "labels": [label.model_dump() for label in schema.labels],
        "groups": [group.model_dump() for group in schema.groups],
        "escalates": parts.desk.document(queue).escalate_to is not None,
    }


def _letter(letter: DeadLetter) -> dict[str, object]:
    item = letter.item
    return {
        "item": item.id, "prediction": None if item.blind else item.prediction, "site": item.site, "case": item.case,
        "purpose": item.purpose, "reasons": [] if item.blind else list(item.reasons), "received_at": when(item.received_at),
        "died_at": when(letter.at), "expiries": letter.expiries, "died": letter.number,
    }  # fmt: skip
