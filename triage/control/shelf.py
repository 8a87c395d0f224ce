"""Every document as last read. Each second their names and etags are looked at, and only what changed is read."""

from __future__ import annotations

from typing import NamedTuple

from triage.errors import NotFound
from triage.ports import Documents


class Text(NamedTuple):
    """What a document says, and the etag it was read with."""

    content: bytes
    etag: str


class Shelf:
    """One object for the life of a `Control`, which sees to it that one thread reads at a time."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._texts: dict[str, Text] = {}

    def read(self) -> dict[str, Text]:
        """Every document by its name. Raises Unavailable."""
        texts: dict[str, Text] = {}
        for name, etag in sorted(self._documents.names().items()):
            known = self._texts.get(name)
            if known is not None and known.etag == etag:
                texts[name] = known
                continue
            try:
                texts[name] = Text(*self._documents.read(name))
            except NotFound:
                continue  # removed since it was listed
            except ValueError:
                texts[name] = Text(b"", etag)  # nobody may read what has such a name; whoever sees the name says so
        self._texts = texts
        return texts
