"""Documents in a bucket: compare-and-swap is the store's conditional put, and one listing tells every document's etag.

A store can put on a condition, but not every one can delete so. A removed document is therefore an empty object, put on the
condition that nobody changed it since; it stays, and whoever makes the document again replaces it on its own etag.
"""

from __future__ import annotations

from triage.errors import NotFound, PreconditionFailed
from triage.store.documents import checked, refused
from triage.store.objects import Objects

_GONE = b""


class ObjectDocuments:
    """`Documents` in an `Objects`, whose etags they have."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def names(self, prefix: str = "") -> dict[str, str]:
        folder = prefix.rpartition("/")[0]
        return {
            entry.name: entry.etag
            for entry in self._objects.list(folder)
            if entry.size and entry.name.startswith(prefix) and entry.name.endswith(".json")
        }

    def read(self, name: str) -> tuple[bytes, str]:
        content, etag = self._objects.read(checked(name))
        if content == _GONE:
            raise NotFound(f"there is no document {name}; it may have been removed")
        return content, etag

    def swap(self, name: str, content: bytes, etag: str | None) -> str:
        try:
            return self._objects.swap(checked(name), content, etag)
        except PreconditionFailed:
            stands, now = self._stands(name)
            if etag is None and stands == _GONE and now is not None:
                return self._objects.swap(name, content, now)  # made again
            raise refused(name, None if stands == _GONE else now, etag) from None

    def remove(self, name: str, etag: str) -> None:
        stands, now = self._stands(checked(name))
        if now != etag or stands == _GONE:
            raise refused(name, None if stands == _GONE else now, etag)
        self._objects.swap(name, _GONE, etag)

    def _stands(self, name: str) -> tuple[bytes, str | None]:
        try:
            return self._objects.read(name)
        except NotFound:
            return _GONE, None
