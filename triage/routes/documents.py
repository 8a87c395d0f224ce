"""Control documents of every kind over HTTP, from the one table of kinds: read, list, replace, remove.

The functions are made for each kind, so that the OpenAPI document describes each body; sites have routes of their own.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request, Response

from triage.access.principal import Principal
from triage.control.kinds import KINDS, NAME, Kind, shown
from triage.errors import NotFound, PreconditionFailed
from triage.parts import Parts
from triage.routes.doors import permits
from triage.routes.replies import json_reply
from triage.schemas import DocumentList, Problem

Project = Annotated[str, Path(pattern=NAME)]


def precondition(if_match: str | None, if_none_match: str | None) -> str | None:
    """The etag that a change replaces, None to create. Raises PreconditionFailed where it says neither."""
    if if_match is None and if_none_match != "*":
        raise PreconditionFailed(
            "the change says nothing of what it replaces; send If-Match with the ETag you read, or If-None-Match: * for a new "
            "document"
        )
    return if_match


def _routes(kind: Kind[Any]) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["control"])
    where = f"/projects/{{project}}/{kind.folder}" if kind.of_project else f"/{kind.folder}"
    one = where if kind.single else f"{where}/{{name}}"
    # A document of a project holds for all of its sites: who is given some of them only may not write it.
    # Who is who of the whole service is nothing that an admin of one project reads.
    reads = permits(kind.read, everywhere=kind.read == "keys", site_in="name" if kind.of_site else "site")
    writes = permits(
        kind.write,
        everywhere=not kind.of_project,
        all_sites=not kind.of_site,
        site_in="name" if kind.of_site else "site",
    )
    found_or_not: dict[int | str, dict[str, Any]] = {404: {"model": Problem}}
    changed_or_not: dict[int | str, dict[str, Any]] = {412: {"model": Problem}, 422: {"model": Problem}}
    title = kind.name.replace("_", " ")
    # A path that does not name one of these has none.
    project_type: Any = Project if kind.of_project else None
    name_type: Any = None if kind.single else Annotated[str, Path(pattern=kind.names)]

    def entry(parts: Parts, project: str | None, name: str) -> Any:
        found = parts.control.entry(kind.name, project, name)
        if found is None:
            told = f"{title} {name!r}" if name else f"{title} document"
            of = f" of project {project!r}" if project else ""
            raise NotFound(f"there is no {told}{of}; make it with PUT {one} and If-None-Match: *")
        return found

    async def show(*, request: Request, project: Any = None, name: Any = "") -> Response:
        found = entry(request.app.state.parts, project, name)
        return json_reply(shown(found.model), headers={"ETag": found.etag})

    async def put(
        *, request: Request, body: Any, who: Annotated[Principal, Depends(writes)], project: Any = None, name: Any = "",
        if_match: Annotated[str | None, Header()] = None, if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:  # fmt: skip
        parts: Parts = request.app.state.parts
        replaced = precondition(if_match, if_none_match)
        etag = await parts.changes.keep(kind.name, project, name, body, replaced, who.subject)
        parts.learn()
        return json_reply(shown(body), headers={"ETag": etag})

    async def remove(
        *, request: Request, who: Annotated[Principal, Depends(writes)], project: Any = None, name: Any = "",
        if_match: Annotated[str | None, Header()] = None,
    ) -> Response:  # fmt: skip
        parts: Parts = request.app.state.parts
        entry(parts, project, name)
        if if_match is None:
            raise PreconditionFailed("say with If-Match which version is removed; GET the document and send its ETag")
        await parts.changes.drop(kind.name, project, name, if_match, who.subject)
        parts.learn()
        return Response(status_code=204)

    async def names(*, request: Request, project: Any = None) -> Response:
        parts: Parts = request.app.state.parts
        there = sorted(parts.control.of(kind.name, project))
        found = [(name, parts.control.entry(kind.name, project, name)) for name in there]
        told = [{"name": name, "etag": each.etag, "document": shown(each.model)} for name, each in found if each]
        return json_reply({"documents": told})

    for function in (show, put, remove, names):
        _typed(function, {"project": project_type, "name": name_type, "body": kind.model})
    read = [Depends(reads)]
    router.add_api_route(
        one, show, methods=["GET"], response_model=kind.model, responses=found_or_not, dependencies=read,
        name=f"show {title}", description=f"The {title} document in force; its `ETag` goes into `If-Match` of a change.",
    )  # fmt: skip
    router.add_api_route(
        one, put, methods=["PUT"], response_model=kind.model, responses=changed_or_not, name=f"put {title}",
        description=f"Replaces a {title} document (`If-Match: ETAG`) or makes one (`If-None-Match: *`); journaled.",
    )  # fmt: skip
    router.add_api_route(
        one, remove, methods=["DELETE"], status_code=204, responses={**found_or_not, **changed_or_not},
        name=f"remove {title}", description=f"Removes a {title} document (`If-Match: ETAG`); journaled.",
    )  # fmt: skip
    if not kind.single:
        router.add_api_route(
            where, names, methods=["GET"], response_model=DocumentList, dependencies=read,
            name=f"list {title}", description=f"Every {title} document in force.",
        )  # fmt: skip
    return router


def _typed(function: Callable[..., Any], types: dict[str, Any]) -> None:
    """Gives parameters the types of one kind, and takes those away that its paths do not name (None)."""
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=types[name], default=inspect.Parameter.empty) if name in types else parameter
        for name, parameter in signature.parameters.items()
        if types.get(name, name) is not None
    ]
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]


router = APIRouter()
for _kind in KINDS.values():
    if _kind.routed:
        router.include_router(_routes(_kind))
