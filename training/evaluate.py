"""What rules do on images that neither trained, tuned nor certified: coverage and precision, in all and by class."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from model_store import decision
from model_store.bundle import Bundle
from model_store.decision import DecisionTable
from model_store.rules import Rules
from training import report
from training.binomial import lower_bound, upper_bound
from training.data import DataSet
from training.images import UNKNOWN
from training.score import Scores, score

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Answers:
    """How often something was answered by the model alone, and how often wrongly."""

    images: int
    answered: int
    wrong: int

    @property
    def coverage(self) -> float:
        """Share answered; 0 of no images."""
        return self.answered / self.images if self.images else 0.0

    @property
    def precision(self) -> float | None:
        """Share of the answers that are right; None without an answer."""
        return 1 - self.wrong / self.answered if self.answered else None

    @property
    def interval(self) -> tuple[float, float]:
        """One-sided exact bounds on precision, each at CONFIDENCE."""
        return (
            lower_bound(self.answered, self.wrong, 1 - CONFIDENCE),
            upper_bound(self.answered, self.wrong, 1 - CONFIDENCE),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        low, high = self.interval
        return {**asdict(self), "coverage": self.coverage, "precision": self.precision, "lower": low, "upper": high}


@dataclass(frozen=True)
class Evaluation:
    """On the test images."""

    all: Answers
    """An image is answered when the whole decision is; it is wrong when any label that fired is not true, or
    any that was called absent is."""
    classes: dict[str, Answers]
    """By head: images of it; how often it fired, on whatever image; how often wrongly."""
    strangers: dict[str, Answers]
    """By label without a head: its images, and how many were answered as something else."""
    refused: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "all": self.all.to_dict(),
            "classes": {label: answers.to_dict() for label, answers in self.classes.items()},
            "strangers": {label: answers.to_dict() for label, answers in self.strangers.items()},
            "refused": self.refused,
        }


def run(bundle: Bundle, rules: Rules, dataset: DataSet) -> Evaluation:
    """Scores the test images, decides, and writes a report beside the bundle."""
    found = evaluate(bundle, rules, score(bundle, dataset.parts["test"], rules.provider, "testing"))
    report.write(bundle, report.of_rules("test", rules), found.to_dict())
    return found


def evaluate(bundle: Bundle, rules: Rules, scores: Scores) -> Evaluation:
    """What the rules do on scored images. Pure."""
    manifest = bundle.manifest
    decided = decision.decide(DecisionTable.build(rules, manifest), scores.probability, scores.typicality)
    false = decided.fires & (scores.truth == 0)
    overlooked = decided.absent & (scores.truth == 1)
    wrong = decided.answerable & (false | overlooked).any(axis=1)
    known = decided.fires & (scores.truth != UNKNOWN)
    strangers = {}
    for label in manifest.labels.ids:
        if label in manifest.heads:
            continue
        rows = [label in image.present for image in scores.images]
        strangers[label] = Answers(sum(rows), int(decided.answerable[rows].sum()), int(wrong[rows].sum()))
    return Evaluation(
        all=Answers(len(scores), int(decided.answerable.sum()), int(wrong.sum())),
        classes={
            head: Answers(int((scores.truth[:, k] == 1).sum()), int(known[:, k].sum()), int(false[:, k].sum()))
            for k, head in enumerate(manifest.heads)
        },
        strangers=strangers,
        refused=scores.refused,
    )
