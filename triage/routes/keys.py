"""`/v1/keys`: who calls, made and revoked by an admin; and `/v1/me`: who one is oneself."""

from __future__ import annotations

import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from triage.access import making
from triage.access.key_document import KeyDocument
from triage.access.making import KeyRequest
from triage.access.principal import Principal
from triage.access.roles import PERMISSIONS, ROLES
from triage.errors import Forbidden, NotFound
from triage.parts import Parts
from triage.routes.doors import permits
from triage.routes.replies import json_reply
from triage.schemas import KeyBody, KeyMade, Me, Problem

router = APIRouter(prefix="/v1", tags=["access"])
Admin = Annotated[Principal, Depends(permits("keys"))]
Prefix = Annotated[str, Path(pattern=r"^[a-z2-7]{8}$")]


@router.get("/me", response_model=Me)
async def me(who: Annotated[Principal, Depends(permits(*PERMISSIONS))]) -> Response:
    """Who is asking, as the service knows them, and what they may do."""
    grants = [
        {"role": each.role, "projects": sorted(each.projects), "sites": sorted(each.sites)} for each in who.grants
    ]
    may = sorted({permission for each in who.grants for permission in ROLES[each.role]})
    return json_reply(
        {
            "subject": who.subject, "names_reviewers": who.names_reviewers, "project": who.project, "site": who.site,
            "key": who.key or None, "grants": grants, "permissions": may,
        }
    )  # fmt: skip


@router.get("/keys", response_model=list[KeyBody])
async def show(request: Request, admin: Admin) -> Response:
    """Every key of the admin's own projects and sites, good ones and those that have ended. None tells the key itself."""
    parts: Parts = request.app.state.parts
    now = datetime.datetime.now(datetime.UTC)
    found = sorted(parts.control.of("key").items(), key=lambda each: (each[1].created_at, each[0]))
    return json_reply([making.told(prefix, document, now) for prefix, document in found if _within(admin, document)])


@router.post(
    "/keys", response_model=KeyMade, status_code=201, responses={403: {"model": Problem}, 422: {"model": Problem}}
)
async def create(request: Request, body: KeyRequest, admin: Admin) -> Response:
    """Makes a key. The reply is the only place where it ever stands; it counts at every gateway within a second."""
    making.check_within(admin, body.grants)
    parts: Parts = request.app.state.parts
    now = datetime.datetime.now(datetime.UTC)
    new, document = making.made(body, admin.subject, now)
    await parts.changes.keep("key", None, new.prefix, document, None, admin.subject)
    parts.learn()
    return json_reply({"key": new.key, **making.told(new.prefix, document, now)}, 201)


@router.delete("/keys/{prefix}", response_model=KeyBody, responses={403: {"model": Problem}, 404: {"model": Problem}})
async def revoke(request: Request, prefix: Prefix, admin: Admin) -> Response:
    """Ends a key, here at once and everywhere within a second. Its document stays, and says who ended it and when."""
    parts: Parts = request.app.state.parts
    entry = parts.control.entry("key", None, prefix)
    if entry is None or not isinstance(entry.model, KeyDocument):
        raise NotFound(f"there is no key {prefix}; GET /v1/keys lists them")
    if not _within(admin, entry.model):
        raise Forbidden(f"the key {prefix} reaches beyond what {admin.subject} is admin of; ask an admin of all of it")
    now = datetime.datetime.now(datetime.UTC)
    document = making.ended(entry.model, admin.subject, now)
    if document != entry.model:
        await parts.changes.keep("key", None, prefix, document, entry.etag, admin.subject)
        parts.learn()
    return json_reply(making.told(prefix, document, now))


def _within(admin: Principal, document: KeyDocument) -> bool:
    try:
        making.check_within(admin, document.grants)
    except Forbidden:
        return False
    return True
