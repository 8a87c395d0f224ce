"""Objects by name, in a folder or an object store: what archive, images and documents are kept in.

A name is a path of a few segments (`log/predictions/date=2026-01-01/a-00000001.parquet`); it holds no `..`, no empty segment,
none that begins with a dot, and none that ends in `.partial`. An object is put whole and read whole, so whoever writes keeps
objects small (the archive's are no larger than a journal segment). Every call blocks: from a coroutine it belongs in a thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from model_store.files import PARTIAL

_SEGMENT = re.compile(r"[^/\x00-\x1f.][^/\x00-\x1f]*")


class Entry(NamedTuple):
    """One object in a listing."""

    name: str
    size: int
    """Bytes."""
    etag: str
    """Another one for every content that was ever put under this name."""


class Objects(Protocol):
    """Every method raises Unavailable when the store does not answer or refuses, and ValueError for a name that is none.

    What a call has put is durable, and seen by every later call of anybody, when the call returns. When it raises instead,
    the object is there whole or not at all.
    """

    def create(self, name: str, content: bytes) -> bool:
        """Puts an object unless there is one: True when it is new. Of several that come at once the first one's stays.

        False may also speak of this very call's own object, when the store's first answer was lost on the way.
        """

    def put(self, name: str, content: bytes) -> None:
        """Puts an object, over one that is there. A reader sees the old or the new one, whole."""

    def swap(self, name: str, content: bytes, etag: str | None) -> str:
        """Puts an object in the place of the one that has this etag (None: of nothing); the new etag.

        Raises PreconditionFailed when something else is there: perhaps this very call's own content, when the store's first
        answer was lost on the way. Of several that swap the same etag at once no more than one succeeds.
        """

    def get(self, name: str) -> bytes:
        """Raises NotFound."""

    def read(self, name: str) -> tuple[bytes, str]:
        """Content and the etag that belongs to it. Raises NotFound."""

    def delete(self, name: str) -> None:
        """No error when it is gone already."""

    def list(self, folder: str = "") -> Iterator[Entry]:
        """Every object below a folder, at any depth, in no order; a folder without objects is no error. `folder` is whole
        segments: `log/predictions` does not list `log/predictions-old/x`. What is put or deleted meanwhile may be missing or
        not; everything else is listed once."""

    def close(self) -> None: ...


def checked(name: str) -> str:
    """The name itself. Raises ValueError for one that could leave the store or hide in it."""
    if not all(_SEGMENT.fullmatch(segment) and not segment.endswith(PARTIAL) for segment in name.split("/")):
        raise ValueError(f"{name!r} is no name of an object")
    return name
