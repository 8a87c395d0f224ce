"""The three kinds of body that an image comes in: its bytes, a form, a reference. Read within bounds, and never into a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from fastapi import Request
from starlette.requests import ClientDisconnect

from triage.access.principal import Principal
from triage.calling.about import About, about, metadata
from triage.calling.forms import FRAME_BYTES, METADATA_BYTES, Form
from triage.calling.room import Place
from triage.errors import BadRequest, Invalid, NotAnImage, TooLarge
from triage.parts import Parts

Admit = Callable[[About], Awaitable[None]]
"""Asked as soon as it is known what the image is about, and for bytes before any of them is read."""


class _Reference(msgspec.Struct, forbid_unknown_fields=True):
    uri: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    sha256: str
    metadata: dict[str, Any] = {}


async def image_of(request: Request, who: Principal, place: Place, admit: Admit) -> tuple[bytes, About]:
    """The image and what it is about. Raises BadRequest, NotAnImage, TooLarge, Invalid, Busy, what `admit` raises, and of a
    reference Forbidden, NotFound, Unavailable."""
    parts: Parts = request.app.state.parts
    limit = parts.settings.max_body_bytes
    query: dict[str, Any] = dict(request.query_params)
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    check_encoding(request)

    async def admitted(said: dict[str, Any]) -> About:
        known = about({**query, **said}, parts.settings.source_fields, who.project, who.site)
        await admit(known)
        return known

    if kind == "multipart/form-data":
        image, text = await _form(request, limit, place)
        return image, await admitted(metadata(text) if text is not None else {})
    if kind == "application/json":
        said = _reference(await read_body(request, METADATA_BYTES, place, "a reference"))
        known = await admitted(said.metadata)
        return await parts.calls.references.read(said.uri, said.sha256, limit, place.hold), known
    if kind.startswith("multipart/"):
        raise NotAnImage(f"a body of {kind[:80]} is not taken; send multipart/form-data, or the image's bytes")
    known = await admitted({})
    return await read_body(request, limit, place), known


async def read_body(request: Request, limit: int, place: Place, what: str = "the body") -> bytes:
    """The whole body. Raises TooLarge before more than `limit` bytes are held, BadRequest for a broken length, Busy."""
    too_large = TooLarge(f"{what} has more than {limit:,} bytes; send a smaller image")
    declared = length_of(request)
    if declared is not None:
        if declared > limit:
            raise too_large
        place.hold(declared)
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise too_large
            place.hold(size)
            chunks.append(chunk)
    except ClientDisconnect:
        raise cut_short() from None
    return b"".join(chunks)


def length_of(request: Request) -> int | None:
    """The declared length; None without one. Raises BadRequest."""
    declared = request.headers.get("content-length")
    if declared is None:
        return None
    if not (declared.isascii() and declared.isdecimal()):
        raise BadRequest("Content-Length is no number; send the body with its length")
    return int(declared)


def check_encoding(request: Request) -> None:
    """Raises NotAnImage for a compressed body: how large it would become nobody knows before."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", ""):
        raise NotAnImage(f"a body in Content-Encoding {encoding[:40]} is not taken; send it as it is")


def cut_short() -> BadRequest:
    return BadRequest("the connection ended before the body did; send it again")


async def _form(request: Request, limit: int, place: Place) -> tuple[bytes, bytes | None]:
    form = Form(request.headers["content-type"], limit)
    declared = length_of(request)
    if declared is not None:
        if declared > limit + METADATA_BYTES + FRAME_BYTES:
            raise TooLarge(f"the form has more than the {limit:,} bytes of one image; send a smaller one")
        place.hold(declared)
    try:
        async for chunk in request.stream():
            form.feed(chunk)
            place.hold(form.held)
    except ClientDisconnect:
        raise cut_short() from None
    return form.done()


def _reference(body: bytes) -> _Reference:
    try:
        return msgspec.json.decode(body, type=_Reference)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Invalid(
            f'the reference is none ({error}); send {{"uri": ..., "sha256": ...}} and perhaps metadata'
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is no JSON ({error}); send an image's bytes, a form, or {{uri, sha256}}") from None
