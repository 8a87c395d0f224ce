"""The documents that are what their model says: parsed when they change, a broken one leaves the former in force, but a key's:
a key of which nobody can say what it may do lets nobody in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from model_store.errors import DocumentError, document_error
from triage.control.kinds import KINDS, Place
from triage.control.shelf import Text

_UNTOLD = frozenset({"key", "access", "webhook"})
"""Kinds into which somebody may put a secret or a name by mistake: /readyz tells strangers what is wrong, and no values."""


class Entry(NamedTuple):
    model: BaseModel
    etag: str


def parse(place: Place, content: bytes) -> BaseModel:
    """What a document says. Raises DocumentError with the mend."""
    model: type[BaseModel] = KINDS[place.kind].model
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        if place.kind in _UNTOLD:
            first = error.errors()[0]
            where = str(first["loc"][0]) if first["loc"] else "(whole document)"
            raise DocumentError(f"{told(place)}: {where}: {first['msg']}; mend it there") from None
        raise document_error(told(place), error) from None


def told(place: Place) -> str:
    """A document in words: `queue default/review`."""
    return " ".join((place.kind.replace("_", " "), "/".join(filter(None, (place.project, place.name))))).strip()


class Kept:
    """What stands, as one mapping that is replaced whole: readers in other threads see all of a poll or nothing of it."""

    def __init__(self) -> None:
        self._entries: dict[Place, Entry] = {}
        self._groups: dict[tuple[str, str | None], dict[str, Any]] = {}
        self.unreadable: frozenset[Place] = frozenset()
        """Documents that are there, cannot be read, and are not in force."""

    def of(self, kind: str, project: str | None) -> dict[str, Any]:
        return self._groups.get((kind, project), {})

    def get(self, place: Place) -> Entry | None:
        return self._entries.get(place)

    def renew(self, texts: Mapping[Place, Text], problems: dict[str, str]) -> None:
        """What these documents say is what stands from now on; what cannot be read is told in `problems`."""
        entries: dict[Place, Entry] = {}
        unreadable = set()
        for place, text in texts.items():
            known = self._entries.get(place)
            if known is not None and known.etag == text.etag:
                entries[place] = known
                continue
            try:
                entries[place] = Entry(parse(place, text.content), text.etag)
            except DocumentError as error:
                problems[KINDS[place.kind].path(place.project, place.name).removesuffix(".json")] = str(error)
                if known is not None and place.kind != "key":  # the change may have been its revocation
                    entries[place] = known
                else:
                    unreadable.add(place)
        self._stand(entries, frozenset(unreadable))

    def put(self, place: Place, entry: Entry | None) -> None:
        """A document was changed here, or removed."""
        entries = {at: each for at, each in self._entries.items() if at != place}
        if entry is not None:
            entries[place] = entry
        self._stand(entries, self.unreadable - {place})

    def _stand(self, entries: dict[Place, Entry], unreadable: frozenset[Place]) -> None:
        groups: dict[tuple[str, str | None], dict[str, Any]] = {}
        for place, entry in entries.items():
            groups.setdefault((place.kind, place.project), {})[place.name] = entry.model
        self._entries, self._groups, self.unreadable = entries, groups, unreadable
