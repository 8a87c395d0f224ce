"""Health, readiness, metrics, and the reviewer's page."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from triage.parts import Parts
from triage.routes.replies import json_reply

router = APIRouter(tags=["operations"])
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": CSP, "Cache-Control": "no-cache"}


@router.get("/healthz")
async def healthz() -> Response:
    """The process answers."""
    return json_reply({"status": "alive"})


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """`answering`, `deferring_only` (everything goes to people) or, with 503, `not_ready` (nothing can be recorded)."""
    parts: Parts = request.app.state.parts
    state, why = parts.readiness()
    return json_reply({"status": state, "why": why}, 503 if state == "not_ready" else 200)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    parts: Parts = request.app.state.parts
    parts.metrics.control_age.set(parts.control.age)
    for (project, site), score in parts.intake.recent.scores().items():
        parts.metrics.drift.labels(project, site, "typicality").set(score)
    return Response(generate_latest(parts.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
async def root() -> Response:
    return RedirectResponse("/review")


@router.get("/review", include_in_schema=False)
async def review() -> Response:
    page = files("triage").joinpath("static/review/index.html").read_bytes()
    return Response(page, media_type="text/html", headers=_HEADERS)


class _Static(StaticFiles):
    """Files of the pages: asked for anew each time, so that after an upgrade no old module meets a new one."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        reply = await super().get_response(path, scope)
        reply.headers.update(_HEADERS)
        return reply


def mount_static(app: FastAPI) -> None:
    app.mount("/static", _Static(packages=[("triage", "static")]), name="static")
