"""`/v1/predictions`: an image in, what became of it out."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request, Response

from model_store.errors import ModelStoreError
from model_store.record import TruthRecord
from triage import tracing
from triage.access.principal import Principal
from triage.access.roles import Permission
from triage.answers import when
from triage.calling.about import About, Named
from triage.calling.preferences import wait_s
from triage.calling.refusals import REFUSED
from triage.calling.truths import truth
from triage.errors import NotFound
from triage.ids import new_id
from triage.index.truths import truths
from triage.parts import Parts
from triage.routes.bodies import image_of
from triage.routes.doors import allow, asks, permits
from triage.routes.replies import json_reply, png_reply
from triage.routes.sending import answered, check_place
from triage.schemas import PredictionBody, PredictionReference, Problem, TruthBody, TruthList, TruthRequest

PATH = "/v1/predictions"
images = APIRouter()
router = APIRouter(prefix=PATH, tags=["predictions"])
Reader = Annotated[Principal, Depends(permits("predictions.own", "predictions.all"))]
Viewer = Annotated[Principal, Depends(permits("predictions.own", "images"))]
_LONGEST_S = 60.0
_REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in (400, 401, 403, 404, 413, 415, 422, 429, 503)
}
_FOUND: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (400, 401, 403, 404, 422, 429, 503)}
_PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}, **_FOUND}
_BYTES = {"type": "string", "format": "binary"}
_FORM = {
    "type": "object", "required": ["image"],
    "properties": {"image": _BYTES, "metadata": {"type": "string", "description": "JSON"}},
}  # fmt: skip


class _Place(msgspec.Struct):
    """What of a stored view says who may see it, and by what it was answered."""

    project: str
    site: str
    labels: list[dict[str, Any]]
    suggestions: list[dict[str, Any]]
    model: dict[str, str] | None


_places = msgspec.json.Decoder(_Place)


def _parameters() -> list[dict[str, Any]]:
    """What is said beside the image, and how it is sent, as OpenAPI lists it."""
    query = [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in Named.model_json_schema()["properties"].items()
    ]
    headers = {
        "Idempotency-Key": "The same key and request give the same prediction, however often it is sent.",
        "Prefer": "`wait=SECONDS`: after that time a person is asked instead of the model.",
        "Secondreader-Origin": "`backfill`: images from before; they give way to live ones and are kept out of audits.",
        "traceparent": "W3C Trace Context.",
    }
    return query + [
        {"name": name, "in": "header", "required": False, "description": says, "schema": {"type": "string"}}
        for name, says in headers.items()
    ]


# The one route that every image takes: it asks for the key and reads its query itself, so that front_door.py can call it
# without the framework in between.
@images.post(
    PATH,
    tags=["predictions"],
    response_model=PredictionBody,
    responses=_REFUSALS,
    openapi_extra={
        "parameters": _parameters(),
        "requestBody": {
            "required": True,
            "content": {
                "image/*": {"schema": _BYTES},
                "multipart/form-data": {"schema": _FORM},
                "application/json": {"schema": PredictionReference.model_json_schema()},
            },
        },
    },
)
@asks("predict")
async def predict(request: Request) -> Response:
    """Reads one image: its bytes, a form with `image` and perhaps `metadata`, or `{uri, sha256}` in a store that the service
    was told to read. What the bytes are is read from them and not from Content-Type."""
    who = await allow(request, "predict")
    parts: Parts = request.app.state.parts
    key = request.headers.get("idempotency-key")
    said: dict[str, str | None] = {"project": who.project, "site": who.site, "key": key, **request.query_params}

    async def admit(about: About) -> None:
        said.update(project=about.project, site=about.site, case=about.case)
        check_place(parts, who, about.project, about.site)

    try:
        seconds = wait_s(request.headers.get("prefer"))
        backfill = request.headers.get("secondreader-origin") == "backfill"
        if backfill:
            parts.calls.room.yields()
        with parts.calls.room.enter() as place:
            image, about = await image_of(request, who, place, admit)
            origin: Literal["http", "backfill"] = "backfill" if backfill else "http"
            made = await answered(parts, who, image, about, key=key, wait_s=seconds, origin=origin)
    except REFUSED as error:
        refusal = tracing.prediction.get() or new_id()
        tracing.about(refusal)
        await parts.calls.refusals.record(error, refusal, who.subject, said)
        raise
    reply = Response(made.reply, media_type="application/json")
    if seconds is not None:
        reply.headers["Preference-Applied"] = f"wait={seconds:g}"
    if made.again:
        reply.headers["Idempotent-Replayed"] = "true"
    return reply


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
