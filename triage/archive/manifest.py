"""What was merged in one date of one table. It is changed by compare-and-swap only, and always before what it speaks of."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from triage.archive.layout import manifest
from triage.errors import NotFound
from triage.store.objects import Objects


class Manifest(BaseModel):
    """A merged file counts only when it is named in `merged`, and then what it was merged of counts no more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = 1
    merged: dict[str, tuple[str, ...]] = {}
    """Merged file -> the files whose rows it holds, by stem."""
    writing: tuple[str, ...] = ()
    """Merged files that somebody is about to put: not to be read, and not to be taken for left-overs."""

    @property
    def replaced(self) -> frozenset[str]:
        return frozenset(stem for inputs in self.merged.values() for stem in inputs)


def read_manifest(objects: Objects, table: str, date: str) -> Manifest:
    return versioned(objects, table, date)[0]


def versioned(objects: Objects, table: str, date: str) -> tuple[Manifest, str | None]:
    """With the etag to be swapped for; an empty one and None where nothing was merged yet."""
    try:
        content, etag = objects.read(manifest(table, date))
    except NotFound:
        return Manifest(), None
    return Manifest.model_validate_json(content), etag


def swap(objects: Objects, table: str, date: str, new: Manifest, etag: str | None) -> str:
    """Raises PreconditionFailed when somebody else changed it meanwhile."""
    return objects.swap(manifest(table, date), new.model_dump_json(indent=1).encode(), etag)
