"""`POST /v1/projects/P/golds`: images of which the right answer is known. They are read and changed as documents."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from triage.access.principal import Principal
from triage.control.kinds import NAME, shown
from triage.errors import BadRequest, Forbidden, Invalid
from triage.ids import derived_id
from triage.parts import Parts
from triage.routes.doors import permits
from triage.routes.replies import json_reply
from triage.schemas import GoldRequest, NamedDocument, Problem

router = APIRouter(prefix="/v1", tags=["review"])
Project = Annotated[str, Path(pattern=NAME)]
_REFUSED: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (400, 404, 412, 415, 422, 503)}


@router.post("/projects/{project}/golds", response_model=NamedDocument, status_code=201, responses=_REFUSED)
async def make(
    request: Request, project: Project, body: GoldRequest,
    principal: Annotated[Principal, Depends(permits("queues.manage"))],
) -> Response:  # fmt: skip
    """Makes a gold of a `prediction`, or of an `image` (base64) that came to a `site`, with the true answers; journaled.

    The same image makes the same name, unless one is given, and is refused (412) while there is one of that name.
    """
    parts: Parts = request.app.state.parts
    known: dict[str, Any] = {"outcome": body.outcome, "answers": dict(body.answers)}
    if body.prediction is not None:
        gold = await parts.golding.of_prediction(project, body.prediction, body.queue, **known)
        _check(principal, project, gold.site)
    else:
        assert body.image is not None
        site = body.site or "default"
        _check(principal, project, site)  # before the image is stored
        gold = await parts.golding.of_image(project, site, _decoded(body.image), body.queue, **known)
    name = body.name or f"g{derived_id('gold', gold.site, gold.sha256).replace('-', '')[:12]}"
    etag = await parts.changes.keep("gold", project, name, gold, None, principal.subject)
    return json_reply({"name": name, "etag": etag, "document": shown(gold)}, 201, {"ETag": etag})


def _check(principal: Principal, project: str, site: str) -> None:
    if not principal.may("queues.manage", project, site):
        raise Forbidden(f"{principal.subject} may not make golds of {project}/{site}; ask an admin for that site")


def _decoded(text: str) -> bytes:
    try:
        image = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise BadRequest("image is not base64; encode the file's bytes") from None
    if not image:
        raise Invalid("the image is empty; send the file's bytes")
    return image
