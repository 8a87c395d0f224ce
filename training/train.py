"""A recipe -> a bundle: read, train, calibrate, gate, export. Certification is apart; see certify.py."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_store import manifest
from model_store.bundle import Bundle
from model_store.errors import BundleError, ProviderUnavailable
from training import (
    calibrate,
    data,
    export,
    gate_checks,
    lacks,
    ledger,
    loop,
    model,
    report,
    tensors,
    typicality,
    unlike,
)
from training.data import DataSet
from training.errors import DataError
from training.images import LabelledImage, fingerprint
from training.recipe import Recipe
from training.splits import draw, one_per_case
from training.tensors import Tensors


@dataclass(frozen=True)
class TrainResult:
    """What training gave. `accuracy` is the share of tuning images with a head whose highest score is right."""

    bundle: Bundle
    heads: tuple[str, ...]
    without_head: dict[str, int]
    """Labels left to people, with the training images each has."""
    images: dict[str, int]
    """Images in each split."""
    accuracy: float
    loss: tuple[float, ...]
    """Mean of each epoch."""
    gate_lacks: tuple[str, ...]
    """Why the typicality gate does not count as validated; empty when it does, or when there is none."""
    gate_unchecked: tuple[str, ...]
    """What could not be asked of the gate, a sentence each."""
    evidence: int
    """Certification images, one a case."""
    evidence_lacks: str
    """Why so few certification images can prove nothing; empty when they might."""
    parity: float
    """Largest difference of a golden probability between torch and ONNX Runtime."""
    seconds: dict[str, float]
    """By stage: read, train, calibrate, gate, export."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        manifest = self.bundle.manifest
        return {
            **{key: value for key, value in asdict(self).items() if key != "bundle"},
            "bundle": {"folder": str(self.bundle.folder), "digest": self.bundle.digest},
            "graph": manifest.graph_digest,
            "gate": manifest.gate.model_dump(mode="json") if manifest.gate else None,
        }


def run(recipe: Recipe, out: Path) -> TrainResult:
    """Trains and writes `<out>/models/<name>/<version>/` and its report beside it.

    Raises a ModelStoreError for everything that the recipe's or the data's owner can mend.
    """
    folder = out / "models" / recipe.name / recipe.version
    if folder.exists():  # said before the minutes of training, not after
        raise BundleError(f"{folder} exists and bundles never change; write the next version into the recipe")
    _prepare(recipe)
    clock = {"start": time.perf_counter()}
    found = data.load(recipe, out)
    heads = found.heads(recipe.data.min_images)
    if not heads:
        raise DataError(f"no label has {recipe.data.min_images} training images; add images or lower data.min_images")
    found.require("tune")
    # Serving would refuse a broken one and certification leave it out, which is noticed when the others are used up.
    tensors.check([*found.parts["certify"], *found.parts["test"]], recipe.image, "checking")
    ledger.record_training(out, found.parts, recipe)
    training = tensors.read(found.parts["train"], heads, recipe.image, "reading")
    tuning = tensors.read(found.parts["tune"], heads, recipe.image, "reading")
    clock["read"] = time.perf_counter()

    known = np.maximum((training.truth >= 0).sum(axis=0), 1)
    prior = ((training.truth == 1).sum(axis=0) / known).astype(np.float32)
    network = model.create(recipe, prior, *training.moments()).to(recipe.training.device)
    history = loop.fit(network, training, recipe.training, recipe.seed)
    clock["train"] = time.perf_counter()

    scores = loop.logits(network, tuning, recipe.training.micro_batch)
    platt = calibrate.fit(scores, tuning.truth)
    clock["calibrate"] = time.perf_counter()

    gate, checked = _gate(network, recipe, training, tuning, found, heads)
    clock["gate"] = time.perf_counter()

    kept = golden(found.parts["tune"], heads, recipe)
    bundle, parity = export.to_bundle(
        folder,
        export.Graph(network.cpu(), platt, gate),
        recipe,
        found.schema,
        heads,
        (kept, tensors.read(kept, heads, recipe.image, "golden")),
        fingerprint(found.parts["train"]),
        checked,
    )
    clock["export"] = time.perf_counter()
    counts = found.counts("train")
    evidence = len(one_per_case(found.parts["certify"], recipe.seed))
    marks = list(clock)
    result = TrainResult(
        bundle=bundle,
        heads=heads,
        without_head={label: counts[label] for label in found.schema.ids if label not in heads},
        images={split: len(part) for split, part in found.parts.items()},
        accuracy=accuracy(scores, tuning.truth),
        loss=tuple(epoch.loss for epoch in history),
        gate_lacks=gate_checks.shortfalls(checked.checks) if checked else (),
        gate_unchecked=gate_checks.unchecked(checked.checks) if checked else (),
        evidence=evidence,
        evidence_lacks=lacks.evidence(evidence, heads, recipe.certification),
        parity=parity,
        seconds={after: clock[after] - clock[before] for before, after in pairwise(marks)},
    )
    report.write(bundle, "training", result.to_dict())
    return result


def _gate(
    network: model.Network, recipe: Recipe, training: Tensors, tuning: Tensors, found: DataSet, heads: Sequence[str]
) -> tuple[typicality.Gate | None, manifest.Gate | None]:
    """The gate of a trained network and what it was seen to stop; nothing where the recipe asks for no gate."""
    knobs, batch = recipe.typicality, recipe.training.micro_batch
    if not knobs.prototypes:
        return None, None
    taught = typicality.normal(found.parts["train"], heads)
    usual = typicality.normal(found.parts["tune"], heads)
    seen = typicality.features(network, tuning.image, batch)
    common = typicality.combinations(training.truth[taught])
    kinds = typicality.kinds(training.truth[taught], common)
    gate = typicality.fit(network, training.image[taught], kinds, seen[usual], knobs, recipe.seed, batch)
    tuned = typicality.kinds(tuning.truth, common)

    def describe(image: np.ndarray) -> typicality.Features:
        return typicality.features(network, image, batch)

    return gate, unlike.check(
        gate, describe, (tuning.image, seen), usual, tuned, recipe.image, knobs.reject, recipe.seed
    )


def _prepare(recipe: Recipe) -> None:
    if recipe.training.device == "cuda" and not torch.cuda.is_available():
        raise ProviderUnavailable(
            "training.device = 'cuda': torch sees no CUDA device; check the driver, or write 'cpu'"
        )
    if recipe.training.threads:
        torch.set_num_threads(recipe.training.threads)
    torch.manual_seed(recipe.seed)


def golden(images: Sequence[LabelledImage], heads: Sequence[str], recipe: Recipe) -> list[LabelledImage]:
    """A few images, of as many different labels as there are places for, chosen by the seed."""
    shuffled = sorted(images, key=lambda image: draw(recipe.seed, "golden", image.name))
    rank: dict[frozenset[str], int] = {}
    keyed = []
    for image in shuffled:  # the first of every label, then the second of every label, ...
        rank[image.present] = rank.get(image.present, -1) + 1
        keyed.append((rank[image.present], image))
    return [image for _, image in sorted(keyed, key=lambda pair: pair[0])[: recipe.export.golden]]


def accuracy(scores: np.ndarray, true: np.ndarray) -> float:
    """Share of the images with a true head whose highest score is one of theirs; scores and true `[N, C]`."""
    seen = (true == 1).any(axis=1)
    best = scores.argmax(axis=1)
    return float((true[np.arange(len(true)), best] == 1)[seen].mean()) if seen.any() else float("nan")
