"""The gateway as an ASGI application: its routes, what stands before them, and its life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from model_store import VERSION
from triage import tracing
from triage.errors import SettingsError
from triage.metrics import Metrics
from triage.routes import cases as case_routes
from triage.routes import (
    control,
    documents,
    golds,
    keys,
    monitoring,
    operations,
    people,
    predictions,
    queues,
    reading,
    reviewing,
    v2,
    verdicts,
)
from triage.routes import outcomes as outcome_routes
from triage.routes import webhooks as webhook_routes
from triage.routes.bounded import Bounded
from triage.routes.counting import Counted
from triage.routes.described import describe
from triage.routes.doors import Doors
from triage.routes.draining import Draining
from triage.routes.front_door import FrontDoor
from triage.routes.replies import install
from triage.routes.sealed import Sealed
from triage.routes.traced import Traced
from triage.routes.v2_errors import V2Errors
from triage.settings import Settings
from triage.wiring import start


def create_app(settings: Settings, metrics: Metrics | None = None) -> FastAPI:
    """A gateway. Nothing is opened before it starts: the journal's lock, Redis and the model come with its lifespan."""
    counted = metrics or Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if (last_spans := tracing.install()) is not None:
                stack.push_async_callback(asyncio.to_thread, last_spans)
            try:
                app.state.parts = await start(settings, counted, stack)
            except SettingsError as error:
                app.state.refused = error  # the server would only log where it was raised
                raise
            yield
            app.state.parts.stopping.set()

    app = FastAPI(title="Second Reader", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None)
    for router in (
        predictions.images,
        reading.router,
        v2.router,
        case_routes.router,
        queues.router,
        reviewing.router,
        verdicts.router,
        golds.router,
        people.router,
        outcome_routes.router,
        webhook_routes.router,
        control.router,
        documents.router,
        monitoring.router,
        keys.router,
        operations.router,
    ):
        app.include_router(router)
    operations.mount_static(app)
    install(app)
    describe(app)
    for middleware in (FrontDoor, Doors, Bounded, Sealed, Draining, V2Errors, Traced):
        app.add_middleware(middleware)  # each stands before those added so far
    app.add_middleware(Counted, metrics=counted)
    return app
