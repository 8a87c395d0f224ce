"""Where images to be backfilled lie: a folder, or a bucket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from triage.store.places import folder_of

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


class Image(NamedTuple):
    """`version` changes when the image does: its etag, or size and time of change."""

    name: str
    version: str
    size: int


class SourceAway(Exception):
    """One sentence."""


class Source(Protocol):
    place: str
    """As it is told, and as it stands in the keys: the same source from another machine is another."""

    def images(self) -> Iterator[Image]:
        """Every image, at any depth. Raises SourceAway."""

    def read(self, name: str) -> bytes:
        """Raises SourceAway."""


def open_source(place: str) -> Source:
    """Raises SourceAway for a place that is none."""
    folder = folder_of(place)
    if folder is None:
        return Bucket(place)
    if not folder.is_dir():
        raise SourceAway(f"{folder} is no folder; name one, or a bucket like s3://bucket/folder")
    return Folder(folder)


def key_of(source: Source, image: Image, project: str, site: str) -> str:
    """The idempotency key: the same for the same version of the same image, forever."""
    parts = [source.place, image.name, image.version, project, site]
    return f"backfill-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]}"


class Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self.place = str(self._folder)

    def images(self) -> Iterator[Image]:
        for path in sorted(self._folder.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                stat = path.stat()
                yield Image(
                    path.relative_to(self._folder).as_posix(), f"{stat.st_size}-{stat.st_mtime_ns}", stat.st_size
                )

    def read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            raise SourceAway(f"{name} cannot be read ({error.strerror}); see who owns it") from None


class Bucket:
    """Credentials and endpoint come from the environment, under the names that the provider's own tools use."""

    def __init__(self, url: str) -> None:
        from triage.store.bucket import store_at

        try:
            self._store = store_at(url)
        except ValueError as error:
            raise SourceAway(str(error)) from None
        self.place = url.rstrip("/")

    def images(self) -> Iterator[Image]:
        import obstore
        from obstore.exceptions import BaseError

        try:
            for batch in obstore.list(self._store):
                for found in batch:
                    if Path(found["path"]).suffix.lower() in SUFFIXES:
                        version = found["e_tag"] or f"{found['size']}-{found['last_modified'].isoformat()}"
                        yield Image(found["path"], version, found["size"])
        except (BaseError, OSError) as error:
            raise self._away(error) from None

    def read(self, name: str) -> bytes:
        import obstore
        from obstore.exceptions import BaseError

        try:
            return bytes(obstore.get(self._store, name).bytes())
        except (BaseError, OSError) as error:
            raise self._away(error) from None

    def _away(self, error: Exception) -> SourceAway:
        said = str(error).strip().splitlines()[0][:200]
        return SourceAway(f"{self.place} does not answer: {said}; see its address and credentials")
