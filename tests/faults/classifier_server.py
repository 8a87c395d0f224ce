"""The tiny bundle behind TorchServe's HTTP, in a process that can be stopped, killed and slowed down.

    python -m tests.faults.classifier_server PORT BUNDLE_FOLDER DELAY_FILE

Every request waits for as many seconds as the file says, when there is one.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from model_store import bundle as bundles
from model_store import prediction as wire
from model_store.engine import Engine
from model_store.errors import ImageError


def app(engine: Engine, delay: Path) -> Starlette:
    async def predict(request: Request) -> Response:
        image = await request.body()
        await asyncio.sleep(_seconds(delay))
        (answer,) = engine.predict([image])
        if isinstance(answer, ImageError):
            return JSONResponse({"detail": str(answer)}, answer.status, media_type="application/problem+json")
        return Response(wire.encode(answer), media_type=wire.MEDIA_TYPE)

    return Starlette(routes=[Route("/predictions/{model}/{version}", predict, methods=["POST"])])


def _seconds(delay: Path) -> float:
    return float(delay.read_text() or 0) if delay.exists() else 0.0


def main() -> None:
    port, folder, delay = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    engine = Engine.open(bundles.open(folder))
    uvicorn.run(app(engine, delay), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
