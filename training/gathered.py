"""What rules gathered in operation, out of a log: whose draws count, which were made here, and their scores."""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_store import rules
from model_store.bundle import Bundle
from model_store.decision import DecisionTable, would_fire
from model_store.record import PredictionRecord
from model_store.rules import Rules
from training import near_duplicates
from training.errors import DataError
from training.images import UNKNOWN
from training.readings import Log
from training.recipe import Recipe
from training.score import Scores
from training.taken import Taken, image


@dataclass(frozen=True)
class Evidence:
    """One class's readings, one a case: `scores` has the truth of this class alone."""

    scores: Scores
    since: datetime.datetime | None = None
    """When the earliest of them came."""
    share: float | None = None
    """About the share of all images on which the class would fire at its plan's threshold."""


def kin(out: Path, old: Rules, label: str) -> frozenset[str]:
    """Digests of the rules that draw this label's images as the old ones do: a uniform sample of the same firings."""
    drawn = old.classes[label].sampling
    assert drawn is not None
    found = {old.digest}
    for path in (out / "rules").glob("*.json"):
        other = rules.read(path)
        plan = other.classes[label].sampling if label in other.classes else None
        same = plan is not None and (plan.threshold, plan.probability) == (drawn.threshold, drawn.probability)
        if same and (other.ground, other.provider, other.precision) == (old.ground, old.provider, old.precision):
            found.add(other.digest)
    return frozenset(found)


def here(seen: Log, old: Rules, bundle: Bundle) -> tuple[list[PredictionRecord], Counter[str]]:
    """What was drawn where and as the rules say, and how much was not."""
    found, passed_over = [], Counter[str]()
    as_here = (old.bundle, old.provider, old.precision, old.project, bundle.manifest.heads)
    for record in seen.drawn:
        if (record.bundle, record.provider, record.precision, record.project, record.heads) != as_here:
            passed_over["of another bundle, provider, precision or project"] += 1
        elif record.site not in old.sites:
            passed_over["of another site"] += 1
        else:
            found.append(record)
    return found, passed_over


class Looks:
    """What drawn images look like, as far as they are at hand."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.radius = recipe.data.near_duplicates if folder.is_dir() else 0
        self.missing = 0
        self._wanted = bool(recipe.data.near_duplicates)
        self._folder, self._spec = folder, recipe.image
        self._known: dict[str, bytes] = {}

    def of(self, record: PredictionRecord) -> bytes:
        """32 bytes; empty where nobody asked or the image is not there."""
        if not self.radius:
            return b""
        name = record.sha256
        if name not in self._known:
            try:
                encoded = (self._folder / record.project / record.site / name).read_bytes()
            except OSError:
                self.missing += 1
                encoded = b""
            looks = near_duplicates.looks(encoded, self._spec, closer=False) if encoded else ()
            self._known[name] = b"".join(looks[:1])
        return self._known[name]

    def told(self) -> str:
        """What was not compared, as one sentence; empty when all was."""
        if not self._wanted:
            return ""
        if not self.radius:
            return (
                f"{self._folder} is not there, so readings were told from images used before by their bytes and cases and not "
                "by their looks; name the folder of the service's images (--blobs)"
            )
        if self.missing:
            return f"{self.missing:,} images are not in {self._folder} any more and were not compared by their looks"
        return ""


def evidence(
    bundle: Bundle, old: Rules, label: str, taken: Taken, seen: Log, kin: frozenset[str], looks: Looks
) -> Evidence:
    """The readings as scores. Raises DataError when the log is not of these rules."""
    heads, records = bundle.manifest.heads, [each.record for each in taken.readings]
    k = heads.index(label)
    truth = np.full((len(records), len(heads)), UNKNOWN, np.int8)
    truth[:, k] = [bool(each.right) for each in taken.readings]
    scores = Scores(
        tuple(image(each, label, heads, looks.of(each.record)) for each in taken.readings),
        np.array([record.probabilities() for record in records], np.float32).reshape(len(records), len(heads)),
        np.array([record.typicality for record in records], np.float32),
        truth,
        0,
    )
    table = DecisionTable.build(old, bundle.manifest)
    strange = np.flatnonzero(~would_fire(table, scores.probability, scores.typicality)[:, k])
    if len(strange):
        raise DataError(
            f"{label} would not fire on the prediction {records[int(strange[0])].id}, which was drawn for it; the log or the "
            "rules were changed"
        )
    first, last = records[0].received_at, records[-1].received_at
    came = sum(int(np.searchsorted(seen.seen[digest], last, side="right")) for digest in kin)
    drawn = old.classes[label].sampling
    assert drawn is not None
    draws = sum(
        label in each.drawn and each.rules in kin and each.received_at <= last for each in here(seen, old, bundle)[0]
    )
    share = min(draws / drawn.probability / came, 1.0) if came else None
    return Evidence(scores, datetime.datetime.fromtimestamp(first / 1e6, datetime.UTC), share)
