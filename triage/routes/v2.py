"""`/v2`: the Open Inference Protocol, so that clients of Triton and KServe send images here as to any model server.

A model is a site, `SITE` of the caller's project or `PROJECT.SITE`; its version is that of the site's model and need not be
named. Every image is predicted as by POST /v1/predictions: stored, decided, journaled, sent to people. So a 200 says what
became of each image and not that a model answered it.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

import msgspec
import numpy as np
from fastapi import APIRouter, Request, Response

from model_store import VERSION
from model_store.errors import ImageError
from triage import tracing
from triage.access.principal import Principal
from triage.calling import oip
from triage.calling.about import About, about
from triage.calling.occlusion import png
from triage.calling.oip import MOST_IMAGES, Inference, Pixels, Tensor
from triage.calling.preferences import wait_s
from triage.calling.refusals import REFUSED
from triage.control.opened_site import Site
from triage.errors import Invalid, NotFound, TriageError
from triage.ids import new_id
from triage.parts import Parts
from triage.routes.bodies import check_encoding, read_body
from triage.routes.doors import allow, asks
from triage.routes.replies import json_reply, problem_of
from triage.routes.sending import Answered, answered, check_place
from triage.schemas import Problem

router = APIRouter(prefix="/v2", tags=["open inference protocol"])
_SAID: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in (400, 401, 403, 404, 413, 415, 422, 429, 503)
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["inputs"]}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_LENGTH = "inference-header-content-length"
_HEAD_BYTES = 2**20
"""Of JSON, beside the images."""
_AT_HAND = 2**18
"""Bytes of a request that is parsed at once, and not in a thread."""
_AT_ONCE = 16
"""Images of one request that are read at the same time."""
_OUTPUTS = {"id": "BYTES", "route": "BYTES", "decision": "BYTES", "labels": "BYTES", "probability": "FP32"}


@router.get("")
async def server() -> Response:
    return json_reply({"name": "secondreader", "version": VERSION, "extensions": ["binary_tensor_data"]})


@router.get("/health/live")
async def live() -> Response:
    """The process answers."""
    return json_reply({"live": True})


@router.get("/health/ready")
async def ready(request: Request) -> Response:
    """Whether images are taken; also while all of them go to people."""
    parts: Parts = request.app.state.parts
    taken = parts.readiness()[0] != "not_ready"
    return json_reply({"ready": taken}, 200 if taken else 503)


@router.get("/models/{model}", responses=_SAID)
@router.get("/models/{model}/versions/{version}", responses=_SAID)
@asks("predict")
async def metadata(request: Request, model: str, version: str = "") -> Response:
    _, site = await _site(request, model, version)
    heads = len(site.bundle.manifest.heads) if site.bundle else 0
    shapes = {"probability": [-1, heads]}
    return json_reply(
        {
            "name": model, "versions": [_version(site)], "platform": "secondreader",
            "inputs": [{"name": oip.INPUT, "datatype": "BYTES", "shape": [-1]}],
            "outputs": [
                {"name": name, "datatype": datatype, "shape": shapes.get(name, [-1])}
                for name, datatype in _OUTPUTS.items()
            ],
        }
    )  # fmt: skip


@router.get("/models/{model}/ready", responses=_SAID)
@router.get("/models/{model}/versions/{version}/ready", responses=_SAID)
@asks("predict")
async def model_ready(request: Request, model: str, version: str = "") -> Response:
    parts: Parts = request.app.state.parts
    await _site(request, model, version)
    taken = parts.readiness()[0] != "not_ready"
    return json_reply({"name": model, "ready": taken}, 200 if taken else 503)


@router.post("/models/{model}/infer", responses=_SAID, openapi_extra=_BODY)
@router.post("/models/{model}/versions/{version}/infer", responses=_SAID, openapi_extra=_BODY)
@asks("predict")
async def infer(request: Request, model: str, version: str = "") -> Response:
    """Predicts up to 64 images. `parameters` say what query parameters say of /v1/predictions; `timeout` is in microseconds."""
    parts: Parts = request.app.state.parts
    who, site = await _site(request, model, version)
    said: dict[str, str | None] = {
        "project": site.project,
        "site": site.name,
        "key": request.headers.get("idempotency-key"),
    }
    try:
        check_encoding(request)
        with parts.calls.room.enter(name=who.holds_as) as place:
            limit = MOST_IMAGES * parts.settings.max_body_bytes + _HEAD_BYTES
            body = await read_body(request, min(limit, parts.settings.max_bytes_in_flight), place)
            said_length, most = request.headers.get(_LENGTH), parts.settings.max_body_bytes
            if len(body) < _AT_HAND:
                asked = oip.parse(body, said_length, most)
            else:  # others are answered meanwhile
                asked = await asyncio.to_thread(oip.parse, body, said_length, most)
            turns = min(len(asked.images), _AT_ONCE, parts.calls.room.most(who.holds_as))
            place.more(turns - 1)
            known = _about(parts, asked, site)
            seconds = _wait_s(request, asked)
            made = await _all(parts, who, asked, known, said["key"], seconds, turns)
            if all(isinstance(each, TriageError | ImageError) for each in made):
                raise next(each for each in made if isinstance(each, Exception))
            tensors = await asyncio.to_thread(_tensors, made, site)
            reply, length = oip.reply(asked, model, _version(site), tensors)
    except REFUSED as error:
        refusal = tracing.prediction.get() or new_id()
        tracing.about(refusal)
        await parts.calls.refusals.record(error, refusal, who.subject, said)
        raise
    kind = "application/json" if length is None else "application/octet-stream"
    headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    return Response(reply, headers=headers, media_type=kind)


async def _site(request: Request, model: str, version: str) -> tuple[Principal, Site]:
    who = await allow(request, "predict")
    parts: Parts = request.app.state.parts
    project, _, name = model.rpartition(".")
    project = project or who.project
    check_place(parts, who, project, name)
    site = parts.control.site(project, name)
    if version and version != _version(site):
        raise NotFound(f"{model} is at version {_version(site)} and not {version[:40]}; leave the version out")
    return who, site


def _version(site: Site) -> str:
    """Of the site's model; 0 while it has none and everything is read by people."""
    return site.bundle.manifest.version if site.bundle else "0"


def _about(parts: Parts, asked: Inference, site: Site) -> About:
    for name in ("project", "site"):
        if asked.parameters.get(name) not in (None, getattr(site, name if name == "project" else "name")):
            raise Invalid(f"the parameter {name!r} contradicts the model's name; leave it out")
    return about(asked.parameters, parts.settings.source_fields, site.project, site.name)


def _wait_s(request: Request, asked: Inference) -> float | None:
    timeout = asked.parameters.get("timeout")
    if timeout is None:
        return wait_s(request.headers.get("prefer"))
    if not isinstance(timeout, int | float) or not math.isfinite(timeout) or timeout < 0:
        raise Invalid("the parameter 'timeout' is no number of microseconds; send one, or leave it out")
    return timeout / 1e6


async def _all(
    parts: Parts, who: Principal, asked: Inference, known: About, key: str | None, seconds: float | None, turns: int
) -> list[Answered | TriageError | ImageError]:
    """What became of each image, `turns` at a time; a refusal of one leaves the others."""
    free = asyncio.Semaphore(turns)

    async def one(number: int, image: bytes | Pixels) -> Answered | TriageError | ImageError:
        async with free:
            try:
                encoded = image if isinstance(image, bytes) else await asyncio.to_thread(_png, image)
                own = None if key is None else f"{key}#{number}"
                return await answered(parts, who, encoded, known, key=own, wait_s=seconds, origin="v2")
            except (TriageError, ImageError) as error:
                return error

    tasks = [asyncio.create_task(one(number, image)) for number, image in enumerate(asked.images)]
    return list(await asyncio.gather(*tasks))


def _png(image: Pixels) -> bytes:
    return png(np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3))


def _tensors(made: list[Answered | TriageError | ImageError], site: Site) -> dict[str, Tensor]:
    told = [_told(each) for each in made]
    decisions = [msgspec.json.decode(each) for each in told]
    heads = site.bundle.manifest.heads if site.bundle else ()
    scores: list[float] = []
    for each in made:
        record = each.read.record if isinstance(each, Answered) and each.read is not None else None
        fits = record is not None and record.heads == heads
        scores += [float(score) for score in record.probabilities()] if record and fits else [math.nan] * len(heads)
    count = len(made)
    texts = {
        "id": [decision.get("id") or "" for decision in decisions],
        "route": [decision.get("route", "refused") for decision in decisions],
        "decision": [each.decode() for each in told],
        "labels": [",".join(label["id"] for label in decision.get("labels", ())) for decision in decisions],
    }
    return {
        **{name: Tensor("BYTES", (count,), values) for name, values in texts.items()},
        "probability": Tensor("FP32", (count, len(heads)), scores),
    }


def _told(each: Answered | TriageError | ImageError) -> bytes:
    """The prediction, or the problem of an image that is refused while others are not; JSON."""
    return each.reply if isinstance(each, Answered) else bytes(problem_of(each).body)
