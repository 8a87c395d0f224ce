"""How replies and problems leave the service."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from model_store.errors import ImageError, ModelStoreError
from model_store.manifest import ImageSpec
from triage import tracing
from triage.errors import BadRequest, Invalid, TriageError
from triage.parts import Parts
from triage.routes.sealed import HEADERS
from triage.safe_image import safe_image

_encoder = msgspec.json.Encoder()
PROBLEM = "application/problem+json"


def json_reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(_encoder.encode(body), status, headers, "application/json")


async def png_reply(parts: Parts, blob: str, spec: ImageSpec) -> Response:
    """A stored image, safe to show. Raises NotFound, ImageError."""
    async with parts.showing:
        png = await asyncio.to_thread(safe_image, await parts.blobs.get(blob), spec)
    return Response(png, media_type="image/png")


def problem(title: str, status: int, detail: str, kind: str, retry_after: int | None = None) -> Response:
    """An RFC 9457 problem; `detail` ends with what to do."""
    body: dict[str, Any] = {
        "type": f"urn:secondreader:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
    }
    if about := tracing.prediction.get():
        body["prediction_id"] = about
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(_encoder.encode(body), status, headers, PROBLEM)


EXPECTED = (TriageError, ModelStoreError, RequestValidationError, HTTPException)
"""What becomes a problem with words of its own; anything else is a fault of ours."""


def problem_of(error: Exception) -> Response:
    """The one table from exceptions to problems."""
    match error:
        case TriageError():
            return problem(error.title, error.status, str(error), type(error).__name__, error.retry_after)
        case ImageError():
            return problem("The image is refused", error.status, str(error), error.code)
        case ModelStoreError():
            return problem(Invalid.title, 422, str(error), "document")
        case RequestValidationError():
            first = error.errors()[0]
            if first["type"] == "json_invalid":
                return problem_of(BadRequest(f"the body is no JSON ({first['ctx']['error']}); mend it"))
            where = ".".join(str(part) for part in first["loc"])
            said = f"{where}: {first['msg']}; see /openapi.json".encode(
                errors="replace"
            ).decode()  # half a surrogate pair
            return problem("The request cannot be read", 422, said, "request")
        case HTTPException(__cause__=TriageError() as cause):
            return problem_of(cause)
        case HTTPException():
            said = f"{error.detail}; see /openapi.json for what there is"
            return problem(str(error.detail), error.status_code, said, "http")
    raise error


def install(app: FastAPI) -> None:
    """Every route's exceptions become problems."""

    async def expected(_: Request, error: Exception) -> Response:
        return problem_of(error)

    async def fault(request: Request, _: Exception) -> Response:  # logged with its traceback by the server
        said = f"{request.url.path} met a fault of the service; its log says which, and repeating may work"
        reply = problem(TriageError.title, 500, said, "internal")
        reply.headers.update(HEADERS)  # it is made outside of our middleware
        return reply

    for kind in EXPECTED:
        app.add_exception_handler(kind, expected)
    app.add_exception_handler(Exception, fault)
