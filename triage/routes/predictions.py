"""`/v1/predictions`: an image in, what became of it out."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from triage.errors import BadRequest, Busy, NotAnImage, TooLarge
from triage.intake import Request as Asked
from triage.parts import Parts
from triage.routes.doors import allow, asks, permits
from triage.routes.replies import json_reply, png_reply
from triage.schemas import PredictionBody, PredictionQuery, Problem

PATH = "/v1/predictions"
images = APIRouter()
router = APIRouter(prefix=PATH, tags=["predictions"])
_OWN_OR_ALL = [Depends(permits("predictions.own", "predictions.all"))]
_SEES = [Depends(permits("predictions.own", "images"))]
_NOT_YET = ("multipart/", "application/json")
_POLL_S = 0.1


# The one route that every image takes: it asks for the key and reads its query itself, so that front_door.py can call it
# without the framework in between.
@images.post(
    PATH,
    tags=["predictions"],
    response_model=PredictionBody,
    responses={code: {"model": Problem} for code in (400, 401, 404, 413, 415, 422, 429, 503)},
    openapi_extra={
        "parameters": PredictionQuery.parameters(),
        "requestBody": {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
    },
)
@asks("predict")
async def predict(request: Request) -> Response:
    """Reads one image. The body is the image's bytes; what they are is read from them and not from Content-Type."""
    await allow(request, "predict")
    parts: Parts = request.app.state.parts
    asked = _query(request)
    await allow(request, "predict", asked.project, asked.site)
    kind = request.headers.get("content-type", "").lower()
    if kind.startswith(_NOT_YET):
        raise NotAnImage(
            f"a body of {kind.split(';')[0]} is not taken; send the image's bytes (curl --data-binary @FILE)"
        )
    if parts.in_flight >= parts.settings.max_in_flight:
        raise Busy(f"{parts.in_flight} predictions are in flight; send this one again in a moment")
    parts.in_flight += 1
    try:
        image = await read_body(request, parts.settings.max_body_bytes)
        source = {name: value for name in parts.settings.source_fields if (value := request.query_params.get(name))}
        about = Asked(asked.project, asked.site, asked.case, asked.view, asked.role, source)
        reply = await parts.intake.predict(image, about)
        return Response(reply, media_type="application/json")
    finally:
        parts.in_flight -= 1


@router.get(
    "/{prediction_id}", response_model=PredictionBody, responses={404: {"model": Problem}, 503: {"model": Problem}},
    dependencies=_OWN_OR_ALL,
)  # fmt: skip
async def show(request: Request, prediction_id: str, wait: Annotated[float, Query(ge=0, le=60)] = 0) -> Response:
    """The prediction as it stands; with `wait`, as soon as it is final or that many seconds later."""
    parts: Parts = request.app.state.parts
    deadline = time.monotonic() + wait
    while True:
        view, final, _ = await parts.reviews.view(prediction_id)
        if final is not None or time.monotonic() >= deadline or parts.stopping.is_set():
            return json_reply(_state(view, final))
        await asyncio.sleep(_POLL_S)


@router.get(
    "/{prediction_id}/image", responses={200: {"content": {"image/png": {}}}, 404: {"model": Problem}},
    dependencies=_SEES,
)  # fmt: skip
async def image(request: Request, prediction_id: str) -> Response:
    """The image, decoded and encoded anew: the stranger's bytes themselves never reach a browser."""
    parts: Parts = request.app.state.parts
    view, _, blob = await parts.reviews.view(prediction_id)
    stored = msgspec.json.decode(view)
    return await png_reply(parts, blob, parts.control.site(stored["project"], stored["site"]).image)


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises TooLarge before more than `limit` bytes are held, BadRequest for a broken length."""
    too_large = TooLarge(f"the body has more than {limit:,} bytes; send a smaller image")
    declared = request.headers.get("content-length")
    if declared is not None:
        if not declared.isdecimal():
            raise BadRequest("Content-Length is no number; send the body with its length")
        if int(declared) > limit:
            raise too_large
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise too_large
            chunks.append(chunk)
    except ClientDisconnect:
        raise BadRequest("the connection ended before the body did; send it again") from None
    return b"".join(chunks)


def _query(request: Request) -> PredictionQuery:
    try:
        return PredictionQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        found = [{**each, "loc": ("query", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(found) from None


def _state(view: bytes, final: bytes | None) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(view)
    body["final"] = msgspec.json.decode(final) if final else None
    if final and body["review"]:
        body["review"]["status"] = "final"
    return body
