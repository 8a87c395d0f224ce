"""How replies and problems leave the service, and who may come in."""

from __future__ import annotations

import asyncio
import hmac
from typing import Any
from urllib.parse import urlsplit

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from model_store.errors import ImageError, ModelStoreError
from model_store.manifest import ImageSpec
from triage.errors import Invalid, NotAuthorized, TriageError
from triage.parts import Parts
from triage.safe_image import safe_image
from triage.settings import LOOPBACK

_encoder = msgspec.json.Encoder()
PROBLEM = "application/problem+json"


def json_reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(_encoder.encode(body), status, headers, "application/json")


async def png_reply(parts: Parts, blob: str, spec: ImageSpec) -> Response:
    """A stored image, safe to show. Raises NotFound, ImageError."""
    async with parts.showing:
        png = await asyncio.to_thread(safe_image, await parts.blobs.get(blob), spec)
    return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


def problem(title: str, status: int, detail: str, kind: str, retry_after: int | None = None) -> Response:
    """An RFC 9457 problem; `detail` ends with what to do."""
    body = {"type": f"urn:secondreader:problem:{kind}", "title": title, "status": status, "detail": detail}
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(_encoder.encode(body), status, headers, PROBLEM)


async def authorize(request: Request) -> None:
    """Raises NotAuthorized unless the request carries the service's key; without a key only loopback is listened on."""
    key = request.app.state.parts.settings.api_key
    if key is None:
        _from_here(request)
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), key.get_secret_value().encode()):
        raise NotAuthorized("send the service's key as 'Authorization: Bearer KEY'")


def _from_here(request: Request) -> None:
    """Without a key, only programs of this machine: a web page, or a name that was made to point here, is refused."""
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name.strip("[]") not in LOOPBACK or (origin and urlsplit(origin).netloc != host):
        raise NotAuthorized("without TRIAGE_API_KEY only this machine may call; set one, or call 127.0.0.1 directly")


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
            where = ".".join(str(part) for part in first["loc"])
            said = f"{where}: {first['msg']}; see /openapi.json".encode(
                errors="replace"
            ).decode()  # half a surrogate pair
            return problem("The request cannot be read", 422, said, "request")
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
        return problem(TriageError.title, 500, said, "internal")

    for kind in EXPECTED:
        app.add_exception_handler(kind, expected)
    app.add_exception_handler(Exception, fault)
