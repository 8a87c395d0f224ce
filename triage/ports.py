"""What the service needs from outside and can be had in more than one way. One contract suite runs against every adapter.

The journal and the queue have one implementation each, and so no protocol: journal/segments.py, index/reviews.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from model_store.bundle import Bundle
from model_store.prediction import Prediction


class Classifier(Protocol):
    """Reads images. One object serves every model of the gateway."""

    async def classify(self, image: bytes, model: Bundle) -> Prediction:
        """Raises ImageError when the image is at fault, ClassifierUnavailable when anything else is."""

    async def close(self) -> None: ...


class Blobs(Protocol):
    """Content-addressed images under `<project>/<site>/<sha256>`."""

    def put(self, key: str, data: bytes, took: Callable[[float], None] = ...) -> asyncio.Future[bool]:
        """Begins at once; durable when it is done, and then True when the key was new. Cancelling it takes nothing back.
        `took` is called, from any thread, with the seconds that a new image took."""

    async def get(self, key: str) -> bytes:
        """Raises NotFound."""

    async def delete(self, key: str) -> None: ...

    def close(self) -> None: ...


class Position(NamedTuple):
    """A place in a gateway's journal: segment number and byte offset in it."""

    segment: int
    offset: int


class Documents(Protocol):
    """Named JSON documents that several processes change by compare-and-swap; durable when a call returns.

    Synchronous: called from threads and from the command line. Every method raises Unavailable when the store is away.
    """

    def names(self, prefix: str = "") -> dict[str, str]:
        """Name -> etag of every document whose name begins so."""

    def read(self, name: str) -> tuple[bytes, str]:
        """Content and etag. Raises NotFound."""

    def swap(self, name: str, content: bytes, etag: str | None) -> str:
        """Puts content in the place of what had this etag (None: of nothing); the new etag. Raises PreconditionFailed."""

    def remove(self, name: str, etag: str) -> None:
        """Raises PreconditionFailed."""
