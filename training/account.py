"""Every number of the report, worked out once: report.json holds them and the page shows them. Pure.

Values are plain JSON. Shares are 0 to 1, scores as the graph gives them, labels by id (`names` says what people call them).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model_store import decision
from model_store import rules as rule_files
from model_store.bundle import Bundle
from model_store.decision import DecisionTable
from model_store.rules import ClassRule, Rules
from training import curves, gate_checks, mistakes, reliability
from training.curves import Curve
from training.data import DataSet
from training.evaluate import Evaluation, evaluate
from training.images import UNKNOWN
from training.mistakes import Shown
from training.score import Scores
from training.splits import SPLITS

HISTOGRAM = 20
EVEN = 0.5
"""Without rules, scores from here on are looked at as if they answered."""
_ORDER = {"automatic": 0, "assist": 1, "human": 2}


@dataclass(frozen=True)
class Found:
    """What is known besides the scores."""

    counts: Mapping[str, Mapping[str, int]]
    """Label -> split -> images."""
    images: Mapping[str, int]
    """Split -> images."""
    training: Mapping[str, Any] | None
    """training.json, where the bundle was trained here."""
    plan: Mapping[str, Any] | None
    """plan.json"""
    risk: float | None
    """At most so probable is it that any certificate of the bundle ever claimed too much; None where nothing certified."""
    signed: Mapping[str, Any] | None
    """Who signed the rules, and whether they are trusted; None where nobody did."""

    @classmethod
    def of(
        cls,
        dataset: DataSet,
        training: dict[str, Any] | None,
        plan: dict[str, Any] | None,
        risk: float | None,
        signed: dict[str, Any] | None,
    ) -> Found:
        counts = {split: dataset.counts(split) for split in SPLITS}
        return cls(
            {label: {split: counts[split][label] for split in SPLITS} for label in dataset.schema.ids},
            {split: len(dataset.parts[split]) for split in SPLITS},
            training,
            plan,
            risk,
            signed,
        )


def account(bundle: Bundle, rules: Rules | None, test: Scores, found: Found, now: datetime.datetime) -> dict[str, Any]:
    """`test`: the scored test images. Without rules nothing answers, and the account says what the scores alone show."""
    manifest = bundle.manifest
    serving = rules or rule_files.assist_rules(bundle.digest, manifest, "cpu", "default")
    table = DecisionTable.build(serving, manifest)
    decided = decision.decide(table, test.probability, test.typicality)
    evaluation = evaluate(bundle, serving, test)
    classes = [_class(bundle, serving, label, evaluation, test, decided.fires) for label in manifest.labels.ids]
    return {
        "made_at": now.isoformat(),
        "model": {
            "name": manifest.name,
            "version": manifest.version,
            "bundle": bundle.digest,
            "graph": manifest.graph_digest,
            "trained_at": manifest.provenance.created_at.isoformat(),
            "code": manifest.provenance.code_version,
            "data": manifest.provenance.data_fingerprint,
            "labels": len(manifest.labels.labels),
            "heads": len(manifest.heads),
            "precision": manifest.precision,
            "groups": [group.model_dump(mode="json") for group in manifest.labels.groups],
        },
        "names": {label.id: label.name for label in manifest.labels.labels},
        "rules": _rules(rules, now) if rules else None,
        "risk": found.risk,
        "signed": found.signed,
        "headline": _headline(evaluation, classes, decided.atypical),
        "classes": sorted(classes, key=lambda each: (_ORDER[each["state"]], -each["answered"])),
        "curve": _curve(bundle, serving, test, evaluation, classes),
        "reliability": _reliability(
            test, decided.fires if rules else test.probability >= EVEN, answered=rules is not None
        ),
        "typicality": _typicality(bundle, serving, test),
        "worst": [_image(test, each) for each in mistakes.worst(table, test, decided)],
        "borderline": [_image(test, each) for each in mistakes.borderline(table, test, decided)],
        "confusion": _confusion(bundle, test, decided),
        "plan": found.plan,
        "data": {"images": dict(found.images), "labels": {label: dict(of) for label, of in found.counts.items()}},
        "training": _training(found.training),
    }


def _rules(rules: Rules, now: datetime.datetime) -> dict[str, Any]:
    until = rules.valid_until
    return {
        "digest": rules.digest,
        "project": rules.project,
        "sites": list(rules.sites),
        "provider": rules.provider,
        "precision": rules.precision,
        "typicality_floor": rules.typicality_floor,
        "conditions": [condition.told() for condition in rules.conditions],
        "valid_until": until.isoformat() if until else None,
        "ended": rules.ended(now),
    }


def _headline(evaluation: Evaluation, classes: list[dict[str, Any]], atypical: np.ndarray) -> dict[str, Any]:
    strangers = evaluation.strangers.values()
    proofs = [each["certificate"] for each in classes if each["state"] == "automatic" and each["certificate"]]
    return {
        **evaluation.all.to_dict(),
        "automatic": sum(each["state"] == "automatic" for each in classes),
        "assist": sum(each["state"] == "assist" for each in classes),
        "human": sum(each["state"] == "human" for each in classes),
        "targets": sorted({proof["target"] for proof in proofs}),
        "delta": max((proof["delta"] for proof in proofs), default=None),
        "proof_images": max((proof["images"] for proof in proofs), default=0),
        "absences": sum(each["absence"] is not None for each in classes),
        "strangers": sum(each.images for each in strangers),
        "strangers_answered": sum(each.answered for each in strangers),
        "atypical": int(atypical.sum()),
        "refused": evaluation.refused,
    }


def _class(
    bundle: Bundle, rules: Rules, label: str, evaluation: Evaluation, test: Scores, fires: np.ndarray
) -> dict[str, Any]:
    rule: ClassRule = rules.classes[label]
    seen = evaluation.classes.get(label) or evaluation.strangers[label]
    headed = label in evaluation.classes
    k = bundle.manifest.heads.index(label) if headed else -1
    right = int((fires[:, k] & (test.truth[:, k] == 1)).sum()) if headed else 0
    known = fires[:, k] & (test.truth[:, k] != UNKNOWN) if headed else np.zeros(len(test), bool)
    mean = float(test.probability[known, k].astype(np.float64).mean()) if known.any() else None
    return {
        "id": label,
        "group": bundle.manifest.labels[label].group,
        "state": rule.state,
        "threshold": rule.threshold,
        "absent_below": rule.absent_below,
        "certificate": rule.certificate.model_dump(mode="json") if rule.certificate else None,
        "absence": rule.absence.model_dump(mode="json") if rule.absence else None,
        "sampling": rule.sampling.model_dump(mode="json") if rule.sampling else None,
        "lacks": rule.lacks if rule.lacks != "not certified" else "",
        "images": seen.images,
        "answered": seen.answered if headed else 0,
        "wrong": seen.wrong if headed else 0,
        "taken_for_another": None if headed else seen.answered,
        "found": right / seen.images if headed and seen.images else None,
        "mean_score": mean,
    }


def _points(curve: Curve) -> list[list[float]]:
    return [[float(x), float(y)] for x, y in zip(curve.coverage, curve.error, strict=True)]


def _curve(
    bundle: Bundle, rules: Rules, test: Scores, evaluation: Evaluation, classes: list[dict[str, Any]]
) -> dict[str, Any]:
    answers = curves.best_answers(bundle.manifest, test, rules.typicality_floor)
    mine, best = curves.ours(answers), curves.oracle(answers)
    targets = [each["certificate"]["target"] for each in classes if each["certificate"]]
    promised = 1 - min(targets) if targets else None
    everything = evaluation.all
    return {
        "images": len(answers.right),
        "accuracy": float(answers.right.mean()) if len(answers.right) else None,
        "ours": _points(mine),
        "oracle": _points(best),
        "promised_error": promised,
        "point": [everything.coverage, everything.wrong / everything.answered] if everything.answered else None,
        "hindsight": curves.coverage_at(mine, promised) if promised is not None else None,
        "oracle_hindsight": curves.coverage_at(best, promised) if promised is not None else None,
    }


def _reliability(test: Scores, region: np.ndarray, answered: bool) -> dict[str, Any]:
    rows, columns = np.nonzero(region & (test.truth != UNKNOWN))
    found = reliability.bins(test.probability[rows, columns], test.truth[rows, columns] == 1)
    return {"bins": [asdict(each) for each in found], "gap": reliability.gap(found), "where_classes_fire": answered}


def _typicality(bundle: Bundle, rules: Rules, test: Scores) -> dict[str, Any]:
    headed = frozenset(bundle.manifest.heads)
    strange = np.array([bool(image.present - headed) for image in test.images], bool)
    gate = bundle.manifest.gate

    def histogram(rows: np.ndarray) -> dict[str, Any]:
        values = test.typicality[rows]
        counts = np.histogram(values, HISTOGRAM, (0.0, 1.0))[0]
        below = int((values < np.float32(rules.typicality_floor)).sum())
        return {"images": len(values), "counts": counts.tolist(), "below": below}

    return {
        "floor": rules.typicality_floor,
        "gate": gate.model_dump(mode="json") if gate else None,
        "gate_seen": gate_checks.seen(gate) if gate else None,
        "gate_lacks": list(gate_checks.shortfalls(gate.checks)) if gate else [],
        "gate_unchecked": list(gate_checks.unchecked(gate.checks)) if gate else [],
        "normal": histogram(~strange),
        "strangers": histogram(strange),
    }


def _image(test: Scores, shown: Shown) -> dict[str, Any]:
    image = test.images[shown.row]
    return {
        "image": image.name,
        "label": shown.label,
        "probability": shown.probability,
        "threshold": shown.threshold,
        "answered": shown.answered,
        "wrong": shown.wrong,
        "truth": sorted(image.present),
        "row": shown.row,
    }


def _confusion(bundle: Bundle, test: Scores, decided: decision.Decisions) -> dict[str, Any]:
    found = mistakes.confusion(bundle.manifest, test, decided)
    labels = [label for label in bundle.manifest.labels.ids if any(label in pair for pair in found.counts)]
    small = len(labels) <= mistakes.MATRIX
    return {
        "labels": labels if small else [],
        "counts": [[*pair, count] for pair, count in sorted(found.counts.items())] if small else [],
        "mistakes": [list(each) for each in found.wrong()[: mistakes.PAIRS]],
    }


def _training(told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    kept = ("accuracy", "parity", "seconds", "images", "evidence")
    return {key: told[key] for key in kept if key in told} if told else None
