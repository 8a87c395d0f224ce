"""Control documents and models: what each site does, and by which rules."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request, Response

from model_store.errors import ModelStoreError
from triage.access.principal import Principal
from triage.control.site_document import SiteDocument
from triage.control.sites import Name
from triage.errors import NotFound
from triage.parts import Parts
from triage.promise.exposure import exposures
from triage.routes.documents import precondition
from triage.routes.doors import permits
from triage.routes.replies import json_reply
from triage.schemas import DocumentList, Problem

router = APIRouter(prefix="/v1", tags=["control"])
_READS = [Depends(permits("sites.read"))]

Version = Annotated[str, Path(pattern=r"^[0-9]+(\.[0-9]+)*$")]
Digest = Annotated[str, Path(pattern=r"^sha256:[0-9a-f]{64}$")]


@router.get("/projects/{project}/sites", response_model=DocumentList)
async def sites(request: Request, project: Name, who: Annotated[Principal, Depends(permits("sites.read"))]) -> Response:
    """The document in force of every site that the caller may see."""
    parts: Parts = request.app.state.parts
    seen = who.sites("sites.read", project)
    found = sorted(
        (
            site
            for site in parts.control.sites
            if site.project == project and site.of is None and (seen is None or site.name in seen)
        ),
        key=lambda site: site.name,
    )
    told = [
        {"name": site.name, "etag": site.etag, "document": site.document.model_dump(mode="json", exclude_defaults=True)}
        for site in found
    ]
    return json_reply({"documents": told})


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
    responses={412: {"model": Problem}, 422: {"model": Problem}},
)  # fmt: skip
async def put(
    request: Request, project: Name, site: Name, body: SiteDocument,
    who: Annotated[Principal, Depends(permits("sites.manage"))],
    if_match: Annotated[str | None, Header()] = None, if_none_match: Annotated[str | None, Header()] = None,
) -> Response:  # fmt: skip
    """Replaces a document (`If-Match: ETAG`) or declares a site (`If-None-Match: *`). The change is journaled.

    The reply tells in `days_to_detect` how long a fault of each automatic class would go unseen.
    """
    parts: Parts = request.app.state.parts
    replaced = precondition(if_match, if_none_match)
    changed = await parts.changes.site(project, site, body, replaced, who.subject)
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
