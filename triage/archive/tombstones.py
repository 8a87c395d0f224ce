"""What is purged: said in the log before anything is deleted, so that nobody brings it back, and kept after it is gone.

A tombstone names predictions by id, people by their keyed hash, or everything of a site from before a moment. It holds nothing
of what it purges.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_store.errors import document_error
from model_store.record import EventRecord, PredictionRecord, Record, ShadowRecord, TruthRecord, VerdictRecord
from triage.store.objects import Objects

FOLDER = "tombstones"


class Tombstone(BaseModel):
    """One purge. It never changes but for `done`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = 1
    id: Annotated[str, Field(pattern=r"^[0-9a-f-]{36}$")]
    project: str
    site: str | None = None
    """None: every site of the project."""
    predictions: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()
    """Keyed hashes, as records hold them."""
    before: int | None = None
    """Microseconds since the epoch: whatever came before."""
    images: bool = True
    """The images too, where nothing else needs them."""
    held: tuple[str, ...] = ()
    """Predictions that a hold kept when this was said; they stay."""
    by: str = ""
    why: str = ""
    at: int
    done: bool = False
    """Nothing of it is left where this log can see."""

    @property
    def name(self) -> str:
        return f"{FOLDER}/{self.id}.json"


def load(objects: Objects) -> list[Tombstone]:
    """Every tombstone of a log, by id. Raises DocumentError for one that cannot be read: better nothing than too much."""
    found = []
    for entry in sorted(objects.list(FOLDER)):
        try:
            found.append(Tombstone.model_validate_json(objects.get(entry.name)))
        except ValidationError as error:
            raise document_error(entry.name, error) from None
    return found


def save(objects: Objects, tombstone: Tombstone) -> None:
    objects.put(tombstone.name, tombstone.model_dump_json(indent=1).encode())


class Hidden:
    """What is not to be seen any more of records that still lie somewhere."""

    def __init__(self, tombstones: Iterable[Tombstone] = ()) -> None:
        self._predictions: set[tuple[str, str]] = set()
        self._persons: dict[tuple[str, str], tuple[int, set[str]]] = {}
        self._before: dict[tuple[str, str | None], tuple[int, set[str]]] = {}
        for each in tombstones:
            self._predictions |= {(each.project, prediction) for prediction in each.predictions}
            for person in each.persons:
                then, held = self._persons.get((each.project, person), (0, set()))
                self._persons[each.project, person] = max(then, each.at), held | set(each.held)
            if each.before is not None:
                where = each.project, each.site
                then, held = self._before.get(where, (0, set()))
                self._before[where] = (max(then, each.before), held | set(each.held))
        self.any = bool(self._predictions or self._persons or self._before)

    def __call__(self, record: Record) -> bool:
        return self.any and self._hides(record)

    def _hides(self, record: Record) -> bool:
        prediction = prediction_of(record)
        if (record.project, prediction) in self._predictions:
            return True
        if isinstance(record, PredictionRecord) and record.person:
            then, kept = self._persons.get((record.project, record.person), (0, set()))
            if record.received_at <= then and record.id not in kept:  # who comes again later is not purged again
                return True
        if isinstance(record, TruthRecord) or (isinstance(record, EventRecord) and "sha256" not in record.detail):
            return False  # the one names no site and goes with its prediction; the other is about no image
        came = _came(record)
        for where in ((record.project, record.site), (record.project, None)):
            then, held = self._before.get(where, (0, ()))
            if came < then and prediction not in held:
                return True
        return False


def prediction_of(record: Record) -> str:
    """The prediction that a record is about; empty, or no prediction's id, when it is about none."""
    if isinstance(record, PredictionRecord | ShadowRecord):
        return record.id
    return record.subject if isinstance(record, EventRecord) else record.prediction


def _came(record: PredictionRecord | VerdictRecord | ShadowRecord | EventRecord) -> int:
    """When the image of a record came, as near as the record itself knows."""
    if isinstance(record, PredictionRecord):
        return record.received_at
    if isinstance(record, VerdictRecord) and record.received_at is not None:
        return record.received_at
    if isinstance(record, EventRecord):
        return int(record.detail.get("received_at", record.at))
    return record.at
