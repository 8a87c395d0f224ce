"""`POST /v1/predictions`: an image in, a prediction out."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, Response

from triage import tracing
from triage.calling.about import About, Named
from triage.calling.preferences import wait_s
from triage.calling.refusals import REFUSED
from triage.ids import new_id
from triage.parts import Parts
from triage.routes.bodies import image_of
from triage.routes.doors import allow, asks
from triage.routes.sending import answered, check_place
from triage.schemas import PredictionBody, PredictionReference, Problem

PATH = "/v1/predictions"
images = APIRouter()
_REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in (400, 401, 403, 404, 408, 413, 415, 422, 429, 503)
}
_BYTES = {"type": "string", "format": "binary"}
_FORM = {
    "type": "object", "required": ["image"],
    "properties": {"image": _BYTES, "metadata": {"type": "string", "description": "JSON"}},
}  # fmt: skip


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
        with parts.calls.room.enter(name=who.holds_as) as place:
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
