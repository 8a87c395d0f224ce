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
from starlette.responses import Response
from starlette.routing import Route

from handlers import sigmoid_handler
from model_store import bundle as bundles
from model_store import parcel
from model_store.engine import Engine


def app(engine: Engine, delay: Path) -> Starlette:
    async def predict(request: Request) -> Response:
        body = await request.body()
        await asyncio.sleep(_seconds(delay))
        parts = parcel.unpack(body)
        answers = [sigmoid_handler.answer(result) for result in engine.predict(parts or [body])]
        if parts is None:
            ((status, media_type, reply),) = answers
            return Response(reply, status.value, media_type=media_type)
        return Response(parcel.pack([reply for *_, reply in answers]), media_type=parcel.MEDIA_TYPE)

    return Starlette(routes=[Route("/predictions/{model}/{version}", predict, methods=["POST"])])


def _seconds(delay: Path) -> float:
    return float(delay.read_text() or 0) if delay.exists() else 0.0


def main() -> None:
    port, folder, delay = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    engine = Engine.open(bundles.open(folder))
    uvicorn.run(app(engine, delay), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
