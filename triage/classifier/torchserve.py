"""The model behind TorchServe, over HTTP on a private address."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import msgspec
from prometheus_client import Gauge

from model_store import errors as image_errors
from model_store import prediction as wire
from model_store.bundle import Bundle
from model_store.errors import ImageError, ReplyError, UnusableImage
from model_store.prediction import Prediction
from triage import tracing
from triage.classifier.breaker import Breaker
from triage.classifier.connections import Connections
from triage.errors import ClassifierUnavailable, ImageFailed
from triage.metrics import Metrics

_BY_STATUS = {
    kind.status: kind
    for kind in (image_errors.EmptyImage, image_errors.ImageTooLarge, image_errors.FormatNotAllowed, UnusableImage)
}


@dataclass
class _Asked:
    """What is known of one model, made once: its path, its breaker, and what was last said of it."""

    path: bytes
    gauge: Gauge
    up: bool | None = None
    breaker: Breaker = field(default_factory=Breaker)

    def is_up(self, up: bool) -> None:
        if up is not self.up:
            self.up = up
            self.gauge.set(up)


class TorchServeClassifier:
    """POSTs image bytes to `/predictions/<name>/<version>` and reads the binary reply."""

    def __init__(self, url: str, timeout_s: float, connections: int, metrics: Metrics) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._connections = Connections(self._url, connections)
        self._models: dict[str, _Asked] = {}

    async def classify(self, image: bytes, model: Bundle) -> Prediction:
        name = f"{model.manifest.name}/{model.manifest.version}"
        asked = self._models.get(name) or self._known(name)
        breaker = asked.breaker
        if not breaker.admits(time.monotonic()):
            raise ClassifierUnavailable(f"the model {name} did not answer lately and is tried again each second")
        try:
            prediction = await self._ask(image, asked.path)
        except (ImageError, ImageFailed):
            breaker.succeeded()  # it answers, though not with scores
            raise
        except ClassifierUnavailable:
            breaker.failed(time.monotonic())
            asked.is_up(False)
            raise
        breaker.succeeded()
        asked.is_up(True)
        return prediction

    async def close(self) -> None:
        await self._connections.close()

    def _known(self, name: str) -> _Asked:
        return self._models.setdefault(
            name, _Asked(f"/predictions/{name}".encode(), self._metrics.classifier_up.labels(name))
        )

    async def _ask(self, image: bytes, path: bytes) -> Prediction:
        trace = tracing.current.get()
        more = b"" if trace is None else f"traceparent: {trace.header()}\r\n".encode()
        try:
            reply = await self._connections.post(path, image, self._timeout_s, more)
        except OSError as error:
            raise ClassifierUnavailable(f"{self._url} does not answer ({type(error).__name__})") from error
        if reply.status == 200:
            try:
                return wire.decode(reply.body)
            except ReplyError as error:
                raise ClassifierUnavailable(f"{self._url}: {error}") from error
        if reply.kind.startswith("application/problem+json"):  # our handler's own words
            if reply.status in _BY_STATUS:
                raise _BY_STATUS[reply.status](_detail(reply.body))
            raise ImageFailed(_detail(reply.body))
        raise ClassifierUnavailable(f"{self._url} answered {reply.status}")


def _detail(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["detail"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return "the model refused the image; send an intact file"
