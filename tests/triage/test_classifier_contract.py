"""The contract of Classifier against both adapters: the engine inside the gateway, and a real TorchServe."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from embedded.ports import free_ports
from handlers import runtime
from handlers.errors import ServerError
from handlers.server import TorchServe
from handlers.serving import Serving
from model_store.bundle import Bundle
from model_store.engine import Engine
from model_store.errors import EmptyImage, FormatNotAllowed, ImageError, ImageTooLarge, UnusableImage
from tests import bundles
from tests.bundles import picture
from tests.model_store import images
from triage.classifier.inprocess import InProcessClassifier
from triage.classifier.torchserve import TorchServeClassifier
from triage.errors import ClassifierUnavailable
from triage.metrics import Metrics
from triage.ports import Classifier


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.make(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def torchserve_url(colours: Bundle, require: Callable[[str, bool], None]) -> Iterator[str]:
    try:
        runtime.java()
        runtime.torchserve_home()
    except ServerError as error:
        require(str(error), False)
    with TorchServe(colours, Serving(workers=1, batch_size=8, max_batch_delay_ms=20)) as server:
        yield f"http://127.0.0.1:{server.listen.inference}"


@pytest.fixture(params=["inprocess", "torchserve"])
async def classifier(request: pytest.FixtureRequest) -> AsyncIterator[Classifier]:
    made: Classifier
    if request.param == "inprocess":
        made = InProcessClassifier("cpu", 1, Metrics())
    else:
        made = TorchServeClassifier(request.getfixturevalue("torchserve_url"), 10.0, 4, 16, Metrics())
    yield made
    await made.close()


async def test_scores_are_the_engine_s_own(classifier: Classifier, colours: Bundle) -> None:
    engine = Engine.open(colours)
    for data in (picture("red"), picture("blue", format="JPEG"), images.turned(6), images.grey16()):
        got, (expected,) = await classifier.classify(data, colours), engine.predict([data])
        assert not isinstance(expected, ImageError)
        assert got.graph == colours.manifest.graph_digest
        assert (got.provider, got.precision) == ("cpu", "fp32")
        assert np.array_equal(got.probability, expected.probability)
        assert got.probability.dtype == np.float32
        assert got.typicality == expected.typicality
        assert np.array_equal(got.embedding, expected.embedding)


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (b"", EmptyImage), (b"hello", FormatNotAllowed), (images.encoded("GIF"), FormatNotAllowed),
        (images.encoded("JPEG")[:-20], UnusableImage), (images.bomb(), ImageTooLarge),
    ],
)  # fmt: skip
async def test_an_image_s_own_fault_is_its_error(
    classifier: Classifier, colours: Bundle, bad: bytes, kind: type[ImageError]
) -> None:
    with pytest.raises(kind, match="; send ") as refused:
        await classifier.classify(bad, colours)
    assert type(refused.value) is kind


async def test_neighbours_of_a_bad_image_are_answered(classifier: Classifier, colours: Bundle) -> None:
    sent = [picture("red", salt=salt) if salt % 3 else b"bad" for salt in range(24)]
    results = await asyncio.gather(*(classifier.classify(each, colours) for each in sent), return_exceptions=True)
    for data, result in zip(sent, results, strict=True):
        if data == b"bad":
            assert isinstance(result, FormatNotAllowed)
        else:
            assert not isinstance(result, BaseException)
            assert result.probability[0] > 0.9


async def test_bad_images_never_make_a_model_unavailable(classifier: Classifier, colours: Bundle) -> None:
    for _ in range(10):
        with pytest.raises(FormatNotAllowed):
            await classifier.classify(b"bad", colours)
    assert (await classifier.classify(picture(), colours)).probability[0] > 0.9


async def test_a_large_image_is_read(classifier: Classifier, colours: Bundle) -> None:
    """Larger than TorchServe takes unless it is told to: the gateway's own limit is the only one."""
    noise = np.random.default_rng(1).integers(0, 255, (1800, 1800, 3), np.uint8)
    from PIL import Image

    data = images.save(Image.fromarray(noise), "PNG", compress_level=0)
    assert len(data) > 9_000_000
    assert (await classifier.classify(data, colours)).graph == colours.manifest.graph_digest


async def test_a_model_it_does_not_have_is_unavailable(classifier: Classifier, colours: Bundle) -> None:
    missing = dataclasses.replace(
        colours, folder=colours.folder / "gone", digest="sha256:" + "0" * 64,
        manifest=colours.manifest.model_copy(update={"name": "nobody"}),
    )  # fmt: skip
    with pytest.raises(ClassifierUnavailable):
        await classifier.classify(picture(), missing)
    assert (await classifier.classify(picture(), colours)).probability[0] > 0.9


async def test_a_graph_that_does_not_run_is_unavailable_and_not_a_crash(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    broken = bundles.make(tmp_path_factory.mktemp("broken"))
    broken.graph.write_bytes(broken.graph.read_bytes()[:-50])
    metrics = Metrics()
    classifier = InProcessClassifier("cpu", 1, metrics)
    with pytest.raises(ClassifierUnavailable):
        await classifier.classify(picture(), broken)
    assert metrics.registry.get_sample_value("triage_classifier_up", {"version": "colours/1"}) == 0
    await classifier.close()


@asynccontextmanager
async def playing(answer: Callable[[], Awaitable[bytes]]) -> AsyncIterator[str]:
    """A server of our own that plays TorchServe's part: takes a request, and says what `answer` gives. Its URL."""
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(await answer())
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()
    await asyncio.gather(*talks)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("503 Service Unavailable", b"no worker", "text/plain"), ("500 Internal Server Error", b"", "text/plain"),
        ("200 OK", b"<html>", "text/html"), ("200 OK", b"", "text/plain"), ("200 OK", b"SRP1\xff\xff{", "x/y"),
        ("413 Request Entity Too Large", b"too large", "text/plain"), ("404 Not Found", b"{}", "application/json"),
    ],
)  # fmt: skip
async def test_whatever_else_a_server_says_is_unavailable(colours: Bundle, status: str, body: bytes, kind: str) -> None:
    """Its own 413 or 404 speaks of the server and not of the image. A server of our own plays the part here."""

    async def answer() -> bytes:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return head.encode() + body

    async with playing(answer) as url:
        metrics = Metrics()
        classifier = TorchServeClassifier(url, 5.0, 4, 4, metrics)
        for _ in range(3):
            with pytest.raises(ClassifierUnavailable):
                await classifier.classify(picture(), colours)
        with pytest.raises(ClassifierUnavailable, match="did not answer lately and is tried again each second"):
            await classifier.classify(picture(), colours)
        assert metrics.registry.get_sample_value("triage_classifier_up", {"version": "colours/1"}) == 0
        await classifier.close()


async def test_no_server_and_a_silent_one_are_unavailable(colours: Bundle) -> None:
    over = asyncio.Event()

    async def silence() -> bytes:
        await over.wait()
        return b""

    async with playing(silence) as silent:
        for url, timeout in ((f"http://127.0.0.1:{free_ports(1)[0]}", 5.0), (silent, 0.2)):
            classifier = TorchServeClassifier(url, timeout, 4, 4, Metrics())
            with pytest.raises(ClassifierUnavailable, match="does not answer"):
                await classifier.classify(picture(), colours)
            await classifier.close()
        over.set()
