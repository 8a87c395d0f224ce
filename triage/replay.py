"""Decides the whole log again: under the rules of the time, which must agree with every record, or under others, to see what
they would change. In memory is one file of it. Pure but for the log and the catalog's files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from model_store.errors import ModelStoreError
from model_store.record import PredictionRecord, Record
from triage.control.catalog import Catalog
from triage.explain import Explanation, explain

_NAMED = 1000
"""Predictions that are named one by one; more are counted."""
NONE = "(none)"
"""Where no class fires before or after."""


@dataclass
class Replayed:
    """What deciding again said."""

    decided: int = 0
    agree: int = 0
    disagree: dict[str, list[str]] = field(default_factory=dict)
    """Prediction -> what differs; the first thousand."""
    disagreeing: int = 0
    not_decided: dict[str, int] = field(default_factory=dict)
    """Why -> how many: their bundle or their rules are gone, or other rules are not for their bundle."""

    @property
    def agrees(self) -> bool:
        """Everything was decided again, as it was."""
        return not self.disagreeing and not self.not_decided


@dataclass
class Changed:
    """What other rules would do: how many predictions would go elsewhere, by class."""

    rules: str
    decided: int = 0
    changed: int = 0
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Class that fires before or after -> `automatic -> review` and so on, and `answer changed` -> predictions."""
    not_decided: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    """Ids of predictions that would change; the first thousand."""


def replay(
    records: Iterable[Record], catalog: Catalog, audit_key: bytes | None, seen: Callable[[], None] = lambda: None
) -> Replayed:
    """Decides each prediction as it was decided. `seen` is called for each."""
    done = Replayed()
    for record in records:
        if not isinstance(record, PredictionRecord):
            continue
        seen()
        again = _again(record, catalog, audit_key, None, done.not_decided)
        if again is None:
            continue
        done.decided += 1
        if again.agrees:
            done.agree += 1
            continue
        done.disagreeing += 1
        if len(done.disagree) < _NAMED:
            done.disagree[f"{record.id} revision {record.revision}"] = list(again.disagreements)
    return done


def what_if(
    records: Iterable[Record], catalog: Catalog, digest: str, seen: Callable[[], None] = lambda: None
) -> Changed:
    """Decides each prediction that a model scored by other rules. Nothing is let in by this: nobody checks who signed them."""
    done = Changed(digest)
    for record in records:
        if not isinstance(record, PredictionRecord) or not record.policy.available:
            continue
        seen()
        again = _again(record, catalog, None, digest, done.not_decided)
        if again is None:
            continue
        done.decided += 1
        before, after = set(record.fires), set(again.fires)
        if record.route != again.route:
            what = f"{record.route} -> {again.route}"
        elif record.route == "automatic" and (before != after or record.absent != again.absent):
            what = "answer changed"
        else:
            continue
        done.changed += 1
        if len(done.examples) < _NAMED:
            done.examples.append(record.id)
        for label in sorted(before | after) or [NONE]:
            counts = done.classes.setdefault(label, {})
            counts[what] = counts.get(what, 0) + 1
    return done


def _again(
    record: PredictionRecord, catalog: Catalog, audit_key: bytes | None, digest: str | None, failed: dict[str, int]
) -> Explanation | None:
    try:
        return explain(record, catalog, audit_key, digest)
    except ModelStoreError as error:
        failed[str(error)] = failed.get(str(error), 0) + 1
        return None
