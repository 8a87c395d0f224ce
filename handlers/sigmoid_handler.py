"""TorchServe's entry point: its context -> the engine, one reply or one refusal for each image of a batch.

This file is copied into every archive and stands there alone, imported by its base name. Three of TorchServe's
habits shape it. It hides an ImportError of a handler behind one of its own, so whatever can fail to import is imported
in `initialize`. An exception out of `handle` fails the whole batch, so none leaves it. It wants exactly one class.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_store.engine import Engine

PROBLEM = "application/problem+json"
REFUSAL = "Second Reader cannot start: "
"""Stands before the sentence in the model log that says why a worker gave up; `server` looks for it."""

log = logging.getLogger("secondreader.handler")


class SigmoidHandler:
    """One engine in one worker process."""

    def __init__(self) -> None:
        self._engine: Engine | None = None

    def initialize(self, context: Any) -> None:
        """Opens the archive's bundle on the provider that its model-config names; proves it on the golden samples.

        Raises what went wrong: TorchServe then ends the worker, and the log has said why in one sentence.
        """
        logging.getLogger().setLevel(logging.WARNING)  # TorchServe logs a line per request, through a pipe
        log.setLevel(logging.INFO)
        try:
            self._engine = _open(context)
        except Exception as error:
            log.error("%s%s", REFUSAL, error)
            raise

    def handle(self, data: Sequence[Mapping[str, Any]], context: Any) -> list[bytes]:
        """One body for each request, in order; status and media type go through the context.

        A request is an image, or several in one parcel: each of those has its own answer in the parcel that goes back.
        """
        from model_store import parcel

        assert self._engine is not None, "TorchServe calls initialize first"
        bodies = [_body(item) for item in data]
        parcels = [parcel.unpack(body) for body in bodies]
        images = [[body] if parts is None else parts for body, parts in zip(bodies, parcels, strict=True)]
        results = iter(_predict(self._engine, [image for several in images for image in several]))
        replies = []
        for index, parts in enumerate(parcels):
            answers = [answer(next(results)) for _ in images[index]]
            if parts is None:
                ((status, media_type, reply),) = answers
                context.set_response_status(status.value, status.phrase, index)
                context.set_response_content_type(index, media_type)
            else:
                reply = parcel.pack([body for *_, body in answers])
                context.set_response_content_type(index, parcel.MEDIA_TYPE)
            replies.append(reply)
        return replies


def answer(result: Any) -> tuple[HTTPStatus, str, bytes]:
    """Status, media type and body of what the engine made of one image."""
    from dataclasses import replace

    from model_store import parcel
    from model_store.errors import ImageError
    from model_store.prediction import MEDIA_TYPE, Prediction, encode

    if isinstance(result, Prediction):
        return HTTPStatus.OK, MEDIA_TYPE, encode(replace(result, together=parcel.MOST))
    status = HTTPStatus(result.status if isinstance(result, ImageError) else 500)
    return status, PROBLEM, _problem(status, result)


def _open(context: Any) -> Engine:
    settings = (context.model_yaml_config or {}).get("handler", {})
    provider = settings.get("provider", "cpu")
    gpu = context.system_properties.get("gpu_id")
    if provider == "cuda" and gpu is not None:
        _see_only(int(gpu))

    from model_store import bundle as bundles
    from model_store.engine import Engine
    from model_store.errors import BundleError

    bundle = bundles.open(Path(context.system_properties["model_dir"]) / "bundle")
    manifest = bundle.manifest
    if bundles.file_digest(bundle.graph) != manifest.graph_digest:  # every reply will claim this digest
        raise BundleError(f"{bundle.graph} is not the graph its manifest names; write the archive again")
    engine = Engine.open(bundle, provider=provider, threads=int(settings.get("threads", 1)))
    engine.check_golden()
    engine.warm()
    log.info("%s %s on %s is right on its golden samples", manifest.name, manifest.version, provider)
    return engine


def _see_only(gpu: int) -> None:
    """TorchServe deals its GPUs out to workers by number; the engine takes the first that its process sees."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    os.environ["CUDA_VISIBLE_DEVICES"] = visible[gpu] if gpu < len(visible) else str(gpu)


def _predict(engine: Engine, images: list[bytes]) -> list[Any]:
    """A prediction or an exception for each image.

    What the engine did not expect may be one image's doing: each is then tried alone, so that neighbours are answered.
    When not even the golden samples come out right any more (a lost GPU context, damaged memory), the process ends and
    TorchServe starts a fresh one: no answer is better than a wrong one.
    """
    try:
        return list(engine.predict(images))
    except Exception:
        log.exception("a batch of %d failed; each image is tried alone", len(images))
    from model_store.errors import ImageError

    results: list[Any] = []
    for image in images:
        try:
            results.extend(engine.predict([image]))
        except Exception as error:
            log.exception("an image of %d bytes failed", len(image))
            results.append(error)
    if any(isinstance(result, Exception) and not isinstance(result, ImageError) for result in results):
        try:
            engine.check_golden()
        except Exception:
            log.exception("the golden samples fail too; this worker ends and a new one starts")
            logging.shutdown()
            os._exit(1)
    return results


def _body(item: Mapping[str, Any]) -> bytes:
    """The raw request body, whatever TorchServe made of it: it parses JSON and text unless told not to."""
    value = item.get("body", item.get("data", b""))
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def _problem(status: HTTPStatus, error: Exception) -> bytes:
    """An RFC 9457 body. An unexpected error keeps its text to the log: it may name paths."""
    unexpected = status is HTTPStatus.INTERNAL_SERVER_ERROR
    body = {
        "title": status.phrase,
        "status": status.value,
        "detail": "the model failed on this image; let a person read it" if unexpected else str(error),
        "code": getattr(error, "code", "failed"),
    }
    return json.dumps(body).encode()
