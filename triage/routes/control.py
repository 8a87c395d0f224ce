"""Control documents and models: what each site does, and by which rules."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request, Response

from model_store.errors import ModelStoreError
from model_store.record import EventRecord
from triage.control.site_document import SiteDocument
from triage.control.sites import Name
from triage.errors import NotFound, PreconditionFailed
from triage.ids import new_id, now_us
from triage.parts import Parts
from triage.promise.exposure import exposures
from triage.routes.doors import permits
from triage.routes.replies import json_reply
from triage.schemas import Problem

router = APIRouter(prefix="/v1", tags=["control"])
_READS = [Depends(permits("sites.read"))]

Version = Annotated[str, Path(pattern=r"^[0-9]+(\.[0-9]+)*$")]
Digest = Annotated[str, Path(pattern=r"^sha256:[0-9a-f]{64}$")]


@router.get(
    "/projects/{project}/sites/{site}", response_model=SiteDocument, responses={404: {"model": Problem}},
    dependencies=_READS,
)  # fmt: skip
async def show(request: Request, project: str, site: str) -> Response:
    """The document in force; its `ETag` goes into `If-Match` of a change."""
    parts: Parts = request.app.state.parts
    found = parts.control.site(project, site)
    return json_reply(found.document.model_dump(), headers={"ETag": found.etag})


@router.put(
    "/projects/{project}/sites/{site}", response_model=SiteDocument,
    responses={412: {"model": Problem}, 422: {"model": Problem}}, dependencies=[Depends(permits("sites.manage"))],
)  # fmt: skip
async def put(
    request: Request, project: Name, site: Name, body: SiteDocument,
    if_match: Annotated[str | None, Header()] = None, if_none_match: Annotated[str | None, Header()] = None,
) -> Response:  # fmt: skip
    """Replaces a document (`If-Match: ETAG`) or declares a site (`If-None-Match: *`). The change is journaled.

    The reply tells in `days_to_detect` how long a fault of each automatic class would go unseen.
    """
    parts: Parts = request.app.state.parts
    if if_match is None and if_none_match != "*":
        raise PreconditionFailed(
            "the change says nothing of what it replaces; send If-Match with the ETag you read, or If-None-Match: * to declare "
            "a new site"
        )
    changed, before = await asyncio.to_thread(parts.control.put, project, site, body, if_match)
    await parts.recorder.record(
        EventRecord(
            id=new_id(), name="site_changed", project=project, site=site, subject=changed.etag,
            detail={"document": body.model_dump_json(exclude_defaults=True), "before": before or ""}, at=now_us(),
        )
    )  # fmt: skip
    exposed = await asyncio.to_thread(exposures, changed.proofs, changed.document.audit)
    days = {label: found.told() for label, found in exposed.items()}
    return json_reply({**changed.document.model_dump(), "days_to_detect": days}, headers={"ETag": changed.etag})


@router.get("/models/{name}/{version}", responses={404: {"model": Problem}}, dependencies=_READS)
async def model(request: Request, name: Name, version: Version) -> Response:
    """A bundle's manifest and digest."""
    parts: Parts = request.app.state.parts
    try:
        bundle = await asyncio.to_thread(parts.control.catalog.bundle, f"{name}/{version}")
    except ModelStoreError as error:
        raise NotFound(str(error)) from None
    return json_reply({"digest": bundle.digest, "manifest": bundle.manifest.model_dump(mode="json")})


@router.get("/rules/{digest}", responses={404: {"model": Problem}}, dependencies=_READS)
async def rules(request: Request, digest: Digest) -> Response:
    """Rules with their certificates."""
    parts: Parts = request.app.state.parts
    try:
        found = await asyncio.to_thread(parts.control.catalog.recorded, digest)
    except ModelStoreError as error:
        raise NotFound(str(error)) from None
    return json_reply(found.model_dump(mode="json"))
