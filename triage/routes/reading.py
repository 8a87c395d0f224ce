"""What became of a prediction: its state, its image, the evidence, and what turned out to be right."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request, Response

from model_store.errors import ModelStoreError
from model_store.record import TruthRecord
from triage import tracing
from triage.access.principal import Principal
from triage.access.roles import Permission
from triage.answers import when
from triage.calling.preferences import wait_s
from triage.calling.truths import truth
from triage.errors import NotFound
from triage.index.truths import truths
from triage.parts import Parts
from triage.routes.doors import permits
from triage.routes.predictions import PATH
from triage.routes.replies import json_reply, png_reply
from triage.schemas import PredictionBody, Problem, TruthBody, TruthList, TruthRequest

router = APIRouter(prefix=PATH, tags=["predictions"])
Reader = Annotated[Principal, Depends(permits("predictions.own", "predictions.all"))]
Viewer = Annotated[Principal, Depends(permits("predictions.own", "images"))]
_LONGEST_S = 60.0
_FOUND: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (400, 401, 403, 404, 422, 429, 503)}
_PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}, **_FOUND}


class _Place(msgspec.Struct):
    """What of a stored view says who may see it, and by what it was answered."""

    project: str
    site: str
    labels: list[dict[str, Any]]
    suggestions: list[dict[str, Any]]
    model: dict[str, str] | None


_places = msgspec.json.Decoder(_Place)


@router.get("/{prediction_id}", response_model=PredictionBody, responses=_FOUND)
async def show(
    request: Request, prediction_id: str, who: Reader, wait: Annotated[float, Query(ge=0, le=_LONGEST_S)] = 0,
    prefer: Annotated[str | None, Header()] = None,
) -> Response:  # fmt: skip
    """The prediction as it stands; with `wait`, or `Prefer: wait=`, as soon as it is final or that many seconds later."""
    parts: Parts = request.app.state.parts
    deadline = time.monotonic() + (wait or min(wait_s(prefer) or 0, _LONGEST_S))
    with parts.calls.finals.watched(prediction_id) as news:
        view, final, _ = await _seen(parts, who, prediction_id, "predictions.all")
        while final is None and (left := deadline - time.monotonic()) > 0 and not parts.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), left)
            if news.is_set() and not parts.stopping.is_set():
                news.clear()
                view, final = await parts.calls.finals.look(prediction_id)
    return json_reply(_state(view, final))


@router.get("/{prediction_id}/image", responses=_PNG)
async def image(request: Request, prediction_id: str, who: Viewer) -> Response:
    """The image, decoded and encoded anew: the stranger's bytes themselves never reach a browser."""
    parts: Parts = request.app.state.parts
    view, _, blob = await _seen(parts, who, prediction_id, "images")
    stored = _places.decode(view)
    return await png_reply(parts, blob, parts.control.site(stored.project, stored.site).image)


@router.get("/{prediction_id}/evidence", responses=_PNG)
async def evidence(
    request: Request, prediction_id: str, who: Viewer, label: Annotated[str | None, Query(max_length=64)] = None
) -> Response:
    """Where in the image a label's probability comes from, as an overlay: orange where it drops most when that part is masked.
    The first label that was answered, or the best suggestion, unless another is named."""
    parts: Parts = request.app.state.parts
    view, _, blob = await _seen(parts, who, prediction_id, "images")
    stored = _places.decode(view)
    if stored.model is None:
        raise NotFound("no model has read this image; ask again when it was decided by one")
    site = parts.control.site(stored.project, stored.site)
    name = f"{stored.model['name']}/{stored.model['version']}"
    try:
        bundle = await asyncio.to_thread(parts.control.catalog.bundle, name)
    except ModelStoreError as error:
        raise NotFound(str(error)) from None
    chosen = label or next((each["id"] for each in (*stored.labels, *stored.suggestions)), "")
    return Response(await parts.calls.evidence.overlay(blob, bundle, chosen, site.image), media_type="image/png")


@router.post("/{prediction_id}/truth", response_model=TruthBody, responses=_FOUND)
async def tell_truth(
    request: Request, prediction_id: str, body: TruthRequest, who: Annotated[Principal, Depends(permits("predict"))]
) -> Response:
    """What turned out to be right. The same words again change nothing; other words are another truth beside the first."""
    parts: Parts = request.app.state.parts
    view, _, _ = await parts.reviews.view(prediction_id)
    stored = _places.decode(view)
    if not who.may("predict", stored.project, stored.site):
        raise _unknown(prediction_id)
    tracing.about(prediction_id)
    labels = parts.control.site(stored.project, stored.site).labels
    told = truth(prediction_id, stored.project, labels, dict(body.answers), body.source or who.subject)
    there = {each.id: each for each in await truths(parts.reviews, prediction_id)}
    if told.id not in there:
        await parts.recorder.record(told)
    return json_reply(_truth(there.get(told.id, told)))


@router.get("/{prediction_id}/truth", response_model=TruthList, responses=_FOUND)
async def show_truths(request: Request, prediction_id: str, who: Reader) -> Response:
    """What callers said of this prediction, oldest first."""
    parts: Parts = request.app.state.parts
    await _seen(parts, who, prediction_id, "predictions.all")
    return json_reply({"truths": [_truth(each) for each in await truths(parts.reviews, prediction_id)]})


async def _seen(
    parts: Parts, who: Principal, prediction_id: str, of_others: Permission
) -> tuple[bytes, bytes | None, str]:
    """View, final state and blob key of a prediction that somebody may see: their own, or with a permission that is for
    everybody's. Raises NotFound also for what they may not know of, IndexAway."""
    found = await parts.reviews.view(prediction_id)
    place = _places.decode(found[0])
    if not who.may(of_others, place.project, place.site):
        mine = await parts.reviews.caller(prediction_id) == who.subject
        if not (mine and who.may("predictions.own", place.project, place.site)):
            raise _unknown(prediction_id)
    tracing.about(prediction_id)
    return found


def _unknown(prediction_id: str) -> NotFound:
    """In the words of an index that has none of this id."""
    return NotFound(f"there is no prediction {prediction_id}; ids come from POST /v1/predictions")


def _truth(told: TruthRecord) -> dict[str, Any]:
    return {
        "id": told.id, "prediction": told.prediction, "answers": told.answers, "source": told.source,
        "at": when(told.at),
    }  # fmt: skip


def _state(view: bytes, final: bytes | None) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(view)
    body["final"] = msgspec.json.decode(final) if final else None
    if final and body["review"]:
        body["review"]["status"] = "final"
    return body
