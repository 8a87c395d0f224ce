"""The model behind TorchServe, over HTTP on a private address."""

from __future__ import annotations

import io
import time

import aiohttp
import msgspec

from model_store import errors as image_errors
from model_store import prediction as wire
from model_store.bundle import Bundle
from model_store.errors import ImageError, ReplyError, UnusableImage
from model_store.prediction import Prediction
from triage.classifier.breaker import Breaker
from triage.errors import ClassifierUnavailable, ImageFailed
from triage.metrics import Metrics

_BY_STATUS = {
    kind.status: kind
    for kind in (image_errors.EmptyImage, image_errors.ImageTooLarge, image_errors.FormatNotAllowed, UnusableImage)
}

_IN_ONE = 2**20


class TorchServeClassifier:
    """POSTs image bytes to `/predictions/<name>/<version>` and reads the binary reply."""

    def __init__(self, url: str, timeout_s: float, connections: int, metrics: Metrics) -> None:
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._connections = connections
        self._metrics = metrics
        self._session: aiohttp.ClientSession | None = None
        self._breakers: dict[str, Breaker] = {}

    async def classify(self, image: bytes, model: Bundle) -> Prediction:
        name = f"{model.manifest.name}/{model.manifest.version}"
        breaker = self._breakers.setdefault(name, Breaker())
        if not breaker.admits(time.monotonic()):
            raise ClassifierUnavailable(f"the model {name} did not answer lately and is tried again each second")
        try:
            prediction = await self._ask(image, name)
        except (ImageError, ImageFailed):
            breaker.succeeded()  # it answers, though not with scores
            raise
        except ClassifierUnavailable:
            breaker.failed(time.monotonic())
            self._metrics.classifier_up.labels(name).set(0)
            raise
        breaker.succeeded()
        self._metrics.classifier_up.labels(name).set(1)
        return prediction

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask(self, image: bytes, name: str) -> Prediction:
        if self._session is None:  # a session belongs to the running loop
            connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=30)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, auto_decompress=False)
        try:
            async with self._session.post(
                f"{self._url}/predictions/{name}",
                data=_body(image),
                headers={"Content-Type": "application/octet-stream"},
            ) as reply:
                body = await reply.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClassifierUnavailable(f"{self._url} does not answer ({type(error).__name__})") from error
        if reply.status == 200:
            try:
                return wire.decode(body)
            except ReplyError as error:
                raise ClassifierUnavailable(f"{self._url}: {error}") from error
        if reply.headers.get("Content-Type", "").startswith("application/problem+json"):  # our handler's own words
            if reply.status in _BY_STATUS:
                raise _BY_STATUS[reply.status](_detail(body))
            raise ImageFailed(_detail(body))
        raise ClassifierUnavailable(f"{self._url} answered {reply.status}")


def _body(image: bytes) -> bytes | io.BytesIO:
    """Large bodies are written in parts: in one they would hold the event loop up."""
    return image if len(image) < _IN_ONE else io.BytesIO(image)


def _detail(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["detail"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return "the model refused the image; send an intact file"
