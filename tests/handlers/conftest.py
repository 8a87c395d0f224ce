"""Servers that several tests share: real TorchServe, tiny bundles."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest
from PIL import Image

from handlers import runtime
from handlers.errors import ServerError
from handlers.server import TorchServe
from handlers.serving import Serving
from model_store.bundle import Bundle
from tests import bundles
from tests.handlers.fragile import make_fragile

BATCHING = Serving(workers=1, batch_size=8, max_batch_delay_ms=100)
"""Long enough a wait that requests sent together share a batch."""


@pytest.fixture(scope="session")
def torchserve(require: Callable[[str, bool], None]) -> None:
    """Goes on only where TorchServe and a Java are installed."""
    try:
        runtime.java()
        runtime.torchserve_home()
    except ServerError as error:
        require(str(error), False)


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.make(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def server(torchserve: None, colours: Bundle) -> Iterator[TorchServe]:
    with TorchServe(colours, BATCHING) as running:
        yield running


@pytest.fixture
def fragile(torchserve: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchServe]:
    with TorchServe(make_fragile(tmp_path_factory.mktemp("fragile")), BATCHING) as running:
        yield running


@pytest.fixture(scope="session")
def bomb() -> bytes:
    """A PNG of a few kilobytes that unfolds to 13,000 x 13,000 pixels."""
    stream = io.BytesIO()
    Image.new("1", (13_000, 13_000)).save(stream, "PNG")
    return stream.getvalue()
