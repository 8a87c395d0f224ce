"""The model behind TorchServe, over HTTP on a private address.

An image goes out at once while fewer than `requests` of its model are under way. What comes meanwhile waits for one of them to
end, and then goes out together in one request: the model's workers are busy anyhow, and what a request costs beside its images
(the server's Java, the worker's protocol, two sockets) is paid once for several.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from prometheus_client import Gauge

from model_store import errors as image_errors
from model_store import parcel
from model_store import prediction as wire
from model_store.bundle import Bundle
from model_store.errors import ImageError, ReplyError, UnusableImage
from model_store.prediction import Prediction
from triage import tracing
from triage.classifier.breaker import Breaker
from triage.classifier.connections import Connections, Reply
from triage.errors import ClassifierUnavailable, ImageFailed
from triage.metrics import Metrics

MOST_PARCEL_BYTES = 8_000_000
"""A parcel that holds so much takes no other image: servers bound a request, and an image alone may be larger."""

_BY_STATUS = {
    kind.status: kind
    for kind in (image_errors.EmptyImage, image_errors.ImageTooLarge, image_errors.FormatNotAllowed, UnusableImage)
}
_Answer = Prediction | ImageError | ImageFailed


@dataclass
class _Waiting:
    """An image that waits for its turn until `ends`, of the loop's clock."""

    image: bytes
    answer: asyncio.Future[_Answer]
    ends: float


@dataclass
class _Model:
    """What is known of one model: its path, its breaker, what was last said of it, and who waits for it."""

    name: str
    path: bytes
    gauge: Gauge
    up: bool | None = None
    breaker: Breaker = field(default_factory=Breaker)
    together: int = 1
    """Images that it takes in one request, as its last reply said."""
    under_way: int = 0
    waiting: deque[_Waiting] = field(default_factory=deque)

    def is_up(self, up: bool) -> None:
        if up is not self.up:
            self.up = up
            self.gauge.set(up)

    def taken(self) -> list[_Waiting]:
        """Half of those that wait, so that the next request to end finds some too; no more than the model takes."""
        self.waiting = deque(each for each in self.waiting if not each.answer.done())
        taken: list[_Waiting] = []
        size = 0
        for _ in range(min((len(self.waiting) + 1) // 2, self.together)):
            size += len(self.waiting[0].image)
            if taken and size > MOST_PARCEL_BYTES:
                break
            taken.append(self.waiting.popleft())
        return taken


class TorchServeClassifier:
    """POSTs images to `/predictions/<name>/<version>` and reads the binary replies."""

    def __init__(self, url: str, timeout_s: float, requests: int, connections: int, metrics: Metrics) -> None:
        """`requests`: of one model under way, before its images wait and go together. `connections`: of all models."""
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._requests = requests
        self._metrics = metrics
        self._connections = Connections(self._url, connections)
        self._models: dict[str, _Model] = {}
        self._parcels: set[asyncio.Task[None]] = set()

    async def classify(self, image: bytes, model: Bundle) -> Prediction:
        name = f"{model.manifest.name}/{model.manifest.version}"
        asked = self._models.get(name) or self._known(name)
        if not asked.breaker.admits(time.monotonic()):
            raise _lately(asked)
        if asked.under_way < self._requests or asked.together == 1:
            trace = tracing.current.get()
            more = b"" if trace is None else f"traceparent: {trace.header()}\r\n".encode()
            asked.under_way += 1
            (answer,) = await self._ask(asked, (image,), self._timeout_s, more)
        else:
            answer = await self._in_turn(asked, image)
        if isinstance(answer, Prediction):
            return answer
        raise answer

    async def close(self) -> None:
        for task in self._parcels:
            task.cancel()
        await self._connections.close()

    def _known(self, name: str) -> _Model:
        return self._models.setdefault(
            name, _Model(name, f"/predictions/{name}".encode(), self._metrics.classifier_up.labels(name))
        )

    async def _in_turn(self, model: _Model, image: bytes) -> _Answer:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(image, loop.create_future(), loop.time() + self._timeout_s)
        model.waiting.append(waiting)
        try:
            async with asyncio.timeout_at(waiting.ends):
                return await waiting.answer
        except TimeoutError as error:
            raise self._silent(error) from error

    async def _ask(
        self, model: _Model, images: Sequence[bytes], timeout_s: float, more: bytes = b""
    ) -> Sequence[_Answer]:
        """An answer for each image, in order; its caller has counted it as under way. Raises ClassifierUnavailable."""
        body = images[0] if len(images) == 1 else parcel.pack(images)
        try:
            try:
                answers = self._read(await self._connections.post(model.path, body, timeout_s, more), len(images))
            except OSError as error:
                raise self._silent(error) from error
        except ClassifierUnavailable:
            model.breaker.failed(time.monotonic())
            model.is_up(False)
            raise
        else:
            model.breaker.succeeded()  # it answers, though perhaps not with scores
            for answer in answers:
                if isinstance(answer, Prediction):
                    model.is_up(True)
                    model.together = answer.together
            return answers
        finally:
            model.under_way -= 1
            self._go_on(model)

    def _go_on(self, model: _Model) -> None:
        """A request has ended: those that wait may go, or hear that nothing answers."""
        if model.breaker.open:
            for each in model.waiting:
                if not each.answer.done():
                    each.answer.set_exception(_lately(model))
            model.waiting.clear()
        elif model.waiting and (taken := model.taken()):
            model.under_way += 1
            task = asyncio.create_task(self._send(model, taken))
            self._parcels.add(task)
            task.add_done_callback(self._parcels.discard)

    async def _send(self, model: _Model, taken: list[_Waiting]) -> None:
        left_s = taken[-1].ends - asyncio.get_running_loop().time()
        try:
            answers = await self._ask(model, [each.image for each in taken], left_s)
        except ClassifierUnavailable as error:
            for each in taken:
                if not each.answer.done():
                    each.answer.set_exception(ClassifierUnavailable(str(error)))
        else:
            for each, answer in zip(taken, answers, strict=True):
                if not each.answer.done():
                    each.answer.set_result(answer)

    def _read(self, reply: Reply, images: int) -> Sequence[_Answer]:
        """Raises ClassifierUnavailable for whatever our handler would not say of so many images."""
        refusal = reply.kind.startswith("application/problem+json")  # our handler's own words
        if reply.status != 200 and not (refusal and images == 1):
            raise ClassifierUnavailable(f"{self._url} answered {reply.status}")
        parts = [reply.body] if images == 1 else parcel.unpack(reply.body)
        if parts is None or len(parts) != images:
            raise ClassifierUnavailable(f"{self._url} did not answer each of {images} images")
        try:
            return [_refusal(part) if part[:1] == b"{" else wire.decode(part) for part in parts]
        except ReplyError as error:
            raise ClassifierUnavailable(f"{self._url}: {error}") from error

    def _silent(self, error: OSError) -> ClassifierUnavailable:
        return ClassifierUnavailable(f"{self._url} does not answer ({type(error).__name__})")


def _lately(model: _Model) -> ClassifierUnavailable:
    return ClassifierUnavailable(f"the model {model.name} did not answer lately and is tried again each second")


class _Problem(msgspec.Struct):
    """What our handler says of an image that has no scores."""

    status: int
    detail: str


def _refusal(body: bytes) -> ImageError | ImageFailed:
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.DecodeError as error:
        raise ReplyError(f"a refusal that cannot be read ({error}); gateway and handler versions may differ") from None
    return _BY_STATUS.get(problem.status, ImageFailed)(problem.detail)
