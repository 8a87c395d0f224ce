"""Images that wait go to TorchServe together: a server of our own holds requests back and reads what is in them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from handlers import runtime, sigmoid_handler
from handlers.errors import ServerError
from handlers.server import TorchServe
from handlers.serving import Serving
from model_store import parcel
from model_store.bundle import Bundle
from model_store.engine import Engine
from model_store.errors import FormatNotAllowed
from model_store.prediction import Prediction
from tests import bundles
from tests.bundles import picture
from triage import tracing
from triage.classifier import torchserve
from triage.classifier.connections import Connections, Reply
from triage.classifier.torchserve import TorchServeClassifier
from triage.errors import ClassifierUnavailable
from triage.metrics import Metrics

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.make(tmp_path_factory.mktemp("colours"))


class Held:
    """Plays TorchServe's part: answers as the handler does, each request when it is let go."""

    def __init__(self, bundle: Bundle) -> None:
        self._engine = Engine.open(bundle)
        self._held: deque[asyncio.Event] = deque()
        self._arrived = asyncio.Condition()
        self.sizes: list[int] = []
        """Images of each request that came."""
        self.heads: list[bytes] = []
        self.knows_parcels = True
        self.breaks = False
        """Closes connections instead."""
        self.url = ""

    @property
    def held(self) -> int:
        return len(self._held)

    async def has(self, requests: int) -> None:
        """Waits until so many have come."""
        async with self._arrived, asyncio.timeout(20):
            await self._arrived.wait_for(lambda: len(self.sizes) >= requests)

    def let_go(self, requests: int = 1) -> None:
        for _ in range(requests):
            self._held.popleft().set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                parts = parcel.unpack(body) if self.knows_parcels else None
                go = asyncio.Event()
                async with self._arrived:
                    self.heads.append(head)
                    self.sizes.append(1 if parts is None else len(parts))
                    self._held.append(go)
                    self._arrived.notify_all()
                if not self.breaks:
                    await go.wait()
                if self.breaks:
                    break
                answers = [sigmoid_handler.answer(result) for result in self._engine.predict(parts or [body])]
                status, media_type, reply = answers[0]
                if parts is not None:
                    status, media_type = type(status)(200), parcel.MEDIA_TYPE
                    reply = parcel.pack([part for *_, part in answers])
                writer.write(f"HTTP/1.1 {status.value} x\r\nContent-Type: {media_type}\r\n".encode())
                writer.write(f"Content-Length: {len(reply)}\r\n\r\n".encode() + reply)
                await writer.drain()


@pytest.fixture
async def held(colours: Bundle) -> AsyncIterator[Held]:
    made = Held(colours)
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())  # type: ignore[arg-type]
        await made.talk(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()
    made.breaks = True
    made.let_go(made.held)
    await asyncio.gather(*talks)
    await server.wait_closed()


@pytest.fixture
async def classifier(held: Held, colours: Bundle) -> AsyncIterator[TorchServeClassifier]:
    """At most two requests under way; it has heard that the handler takes parcels."""
    made = TorchServeClassifier(held.url, 20.0, 2, 16, Metrics())
    first = asyncio.create_task(made.classify(picture(), colours))
    await held.has(1)
    held.let_go()
    assert (await first).together == parcel.MOST
    held.sizes.clear()
    held.heads.clear()
    yield made
    await made.close()


async def asked(
    held: Held, classifier: TorchServeClassifier, model: Bundle, images: list[bytes], out: int = 2
) -> list[asyncio.Task[Prediction]]:
    """The images on their way: the first `out` at the server, the others waiting."""
    tasks = [asyncio.create_task(classifier.classify(image, model)) for image in images]
    await held.has(out)
    return tasks


async def given_up(tasks: list[asyncio.Task[Prediction]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_comes_meanwhile_goes_together_and_each_has_its_own(
    held: Held, classifier: TorchServeClassifier, colours: Bundle
) -> None:
    images = [b"bad" if index % 5 == 3 else picture(COLOURS[index % 3], salt=index) for index in range(14)]
    tasks = await asked(held, classifier, colours, images)
    for request in range(3, 7):
        held.let_go()
        await held.has(request)
    assert held.sizes == [1, 1, 6, 3, 2, 1], "half of those that wait, whenever a request ends"
    held.let_go(2)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for index, result in enumerate(results):
        if index % 5 == 3:
            assert isinstance(result, FormatNotAllowed)
        else:
            assert isinstance(result, Prediction)
            assert result.probability.argmax() == index % 3


async def test_no_parcel_is_larger_than_the_model_takes(
    held: Held, classifier: TorchServeClassifier, colours: Bundle
) -> None:
    tasks = await asked(held, classifier, colours, [picture(salt=index) for index in range(2 + 3 * parcel.MOST)])
    held.let_go()
    await held.has(3)
    assert held.sizes[2] == parcel.MOST
    await given_up(tasks)


async def test_large_images_go_in_small_parcels(
    held: Held, classifier: TorchServeClassifier, colours: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [picture()] * 10
    monkeypatch.setattr(torchserve, "MOST_PARCEL_BYTES", 2 * len(images[0]) + 10)
    tasks = await asked(held, classifier, colours, images)
    held.let_go()
    await held.has(3)
    assert held.sizes[2] == 2
    monkeypatch.setattr(torchserve, "MOST_PARCEL_BYTES", 1)
    held.let_go()
    await held.has(4)
    assert held.sizes[3] == 1, "what is too large for any parcel goes alone"
    await given_up(tasks)


async def test_a_handler_that_does_not_say_so_is_sent_no_parcels(colours: Bundle, held: Held) -> None:
    fresh = TorchServeClassifier(held.url, 20.0, 2, 16, Metrics())
    tasks = await asked(held, fresh, colours, [picture(salt=index) for index in range(6)], out=6)
    held.let_go(6)
    await asyncio.gather(*tasks)
    assert held.sizes == [1] * 6
    await fresh.close()


async def test_a_parcel_that_is_refused_whole_is_no_image_s_fault(
    held: Held, classifier: TorchServeClassifier, colours: Bundle
) -> None:
    """An older handler behind the same name takes a parcel for a damaged image."""
    tasks = await asked(held, classifier, colours, [picture(salt=index) for index in range(6)])
    held.knows_parcels = False
    held.let_go(2)
    await held.has(4)
    held.let_go(2)
    await held.has(5)
    held.let_go()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    alone, together = [Prediction] * 2, [ClassifierUnavailable] * 2
    assert [type(result) for result in results] == [*alone, *together, *alone]


async def test_one_that_gives_up_takes_nobody_along(
    held: Held, classifier: TorchServeClassifier, colours: Bundle
) -> None:
    tasks = await asked(held, classifier, colours, [picture(COLOURS[index % 3], salt=index) for index in range(8)])
    tasks[3].cancel()  # it waits
    held.let_go()
    await held.has(3)
    assert held.sizes[2] == 3, "half of the five that still wait"
    tasks[4].cancel()  # it is under way with others
    held.let_go(2)
    await held.has(5)
    held.let_go(2)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for index, result in enumerate(results):
        if index in (3, 4):
            assert isinstance(result, asyncio.CancelledError)
        else:
            assert isinstance(result, Prediction)
            assert result.probability.argmax() == index % 3


async def test_those_that_wait_hear_at_once_that_nothing_answers(
    held: Held, classifier: TorchServeClassifier, colours: Bundle
) -> None:
    """The breaker counts requests, not images: it takes a parcel beside the two that went alone."""
    tasks = await asked(held, classifier, colours, [picture(salt=index) for index in range(40)])
    held.breaks = True
    held.let_go(2)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, ClassifierUnavailable) for result in results)
    assert sum("tried again each second" in str(result) for result in results) >= 40 - 2 - 2 * parcel.MOST


async def test_nobody_waits_longer_than_alone(held: Held, colours: Bundle) -> None:
    impatient = TorchServeClassifier(held.url, 0.5, 1, 16, Metrics())
    first = asyncio.create_task(impatient.classify(picture(), colours))
    await held.has(1)
    held.let_go()
    await first
    results = await asyncio.gather(
        *(impatient.classify(picture(salt=index), colours) for index in range(4)), return_exceptions=True
    )
    assert all(isinstance(result, ClassifierUnavailable) for result in results)
    assert all("does not answer" in str(result) for result in results)
    await impatient.close()


async def test_an_image_alone_carries_its_trace_and_a_parcel_none(
    held: Held, classifier: TorchServeClassifier, colours: Bundle
) -> None:
    trace = tracing.parse("00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    token = tracing.current.set(trace)
    tasks = await asked(held, classifier, colours, [picture(salt=index) for index in range(6)])
    tracing.current.reset(token)
    held.let_go(2)
    await held.has(4)
    assert held.sizes == [1, 1, 2, 1]
    assert [b"traceparent: 00-" + b"a" * 32 in head for head in held.heads] == [True, True, False, False]
    held.let_go(2)
    await held.has(5)
    held.let_go()
    await asyncio.gather(*tasks)


async def test_a_real_torchserve_takes_parcels(
    colours: Bundle, require: Callable[[str, bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        runtime.java()
        runtime.torchserve_home()
    except ServerError as error:
        require(str(error), False)
    bodies: list[bytes] = []
    post = Connections.post

    async def noted(self: Connections, path: bytes, body: bytes, *more: Any) -> Reply:
        bodies.append(body)
        return await post(self, path, body, *more)

    monkeypatch.setattr(Connections, "post", noted)
    with TorchServe(colours, Serving(workers=1, batch_size=4, max_batch_delay_ms=5)) as server:
        made = TorchServeClassifier(f"http://127.0.0.1:{server.listen.inference}", 20.0, 2, 16, Metrics())
        await made.classify(picture(), colours)
        images = [b"bad" if index % 7 == 3 else picture(COLOURS[index % 3], salt=index) for index in range(60)]
        results = await asyncio.gather(*(made.classify(image, colours) for image in images), return_exceptions=True)
        await made.close()
    for index, result in enumerate(results):
        if index % 7 == 3:
            assert isinstance(result, FormatNotAllowed)
        else:
            assert isinstance(result, Prediction)
            assert result.probability.argmax() == index % 3
    assert max(len(parcel.unpack(body) or ()) for body in bodies) == parcel.MOST
    assert len(bodies) < 30
