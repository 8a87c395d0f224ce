"""A recipe -> a bundle: read, train, calibrate, export. Certification is apart; see certify.py."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_store.bundle import Bundle
from model_store.errors import BundleError, ProviderUnavailable
from training import calibrate, data, export, loop, model, report, tensors
from training.errors import DataError
from training.images import LabelledImage, fingerprint
from training.recipe import Recipe
from training.splits import draw


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
    parity: float
    """Largest difference of a golden probability between torch and ONNX Runtime."""
    seconds: dict[str, float]
    """By stage: read, train, calibrate, export."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        manifest = self.bundle.manifest
        return {
            **{key: value for key, value in asdict(self).items() if key != "bundle"},
            "bundle": {"folder": str(self.bundle.folder), "digest": self.bundle.digest},
            "graph": manifest.graph_digest,
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
    found = data.load(recipe)
    heads = found.heads(recipe.data.min_images)
    if not heads:
        raise DataError(f"no label has {recipe.data.min_images} training images; add images or lower data.min_images")
    if not found.parts["tune"]:
        raise DataError("the split tune is empty; add images, or give it a larger share")
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

    kept = golden(found.parts["tune"], heads, recipe)
    bundle, parity = export.to_bundle(
        folder,
        export.Graph(network.cpu(), platt),
        recipe,
        found.schema,
        heads,
        (kept, tensors.read(kept, heads, recipe.image, "golden")),
        fingerprint(found.parts["train"]),
    )
    clock["export"] = time.perf_counter()
    counts = found.counts("train")
    marks = list(clock)
    result = TrainResult(
        bundle=bundle,
        heads=heads,
        without_head={label: counts[label] for label in found.schema.ids if label not in heads},
        images={split: len(part) for split, part in found.parts.items()},
        accuracy=accuracy(scores, tuning.truth),
        loss=tuple(epoch.loss for epoch in history),
        parity=parity,
        seconds={after: clock[after] - clock[before] for before, after in pairwise(marks)},
    )
    report.write(bundle, "training", result.to_dict())
    return result


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
