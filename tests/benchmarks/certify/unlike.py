"""What fires on images unlike the training set, with the gate at 5% normal rejection and with the gate off.

The shipped sample's own model, trained and certified as `secondreader train sample` and `certify` do, and kept in
build/bench-certify/unlike/; images go through the engine that serves and `model_store.decision`. Gate off means the same rules
with the floor at 0. Held-out classes are images in none of the sample's splits where Debian's `dataset-fashion-mnist` is
installed, else those of its test split.

The gate was chosen by what it does to some of these (gates.py), so each kind says what that choice saw: these images, others of
its kind, or nothing. Of the last sort are photographs and letters (foreign.py): only they are evidence of a gate that nobody
fitted to them.

    python -m tests.benchmarks.certify.unlike
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_digits

from model_store import bundle as bundles
from model_store.bundle import Bundle
from model_store.decision import DecisionTable, decide
from model_store.engine import Engine
from model_store.prediction import Prediction
from tests.benchmarks.certify import fashion, foreign
from training import certify, recipe, sample, tensors, train, unlike
from training.images import LabelledImage
from training.splits import SPLITS
from training.typicality import normal

KEPT = fashion.KEPT / "unlike"
FOREIGN = ("digits", "noise", "blank", *foreign.KINDS)
"""Data sets that have nothing to do with clothing."""
CHOICE = {"nothing": "unseen", "its kind": "kind seen", "these images": "seen"}
"""What the choice of the gate saw, and how the table marks it."""
MOST = 0.05
"""Share of a foreign data set that may fire."""
HELD_OUT = 1_000
"""Images of each class without a head, at most."""

Floats = npt.NDArray[np.float32]
Scored = tuple[Floats, Floats]
"""probability `[N, C]` and typicality `[N]`."""


def run(folder: Path = KEPT) -> dict[str, Any]:
    """Per kind of image: how many, and the share that fires with the gate, without it, and is below the floor."""
    shipped = recipe.sample()
    path = folder / "models" / shipped.name / shipped.version
    bundle = bundles.open(path) if path.exists() else train.run(shipped, folder).bundle
    rules = certify.run(bundle, shipped, folder)
    table = DecisionTable.build(rules, bundle.manifest)
    engine = Engine.open(bundle, "cpu", threads=1)
    kinds = {
        name: {**_shares(table, scored), "choice_saw": _saw(name)} for name, scored in _kinds(bundle, engine).items()
    }
    gate = bundle.manifest.gate
    return {
        "model": bundle.digest,
        "seed": shipped.seed,
        "floor": round(float(table.floor), 4),
        "gate": gate.model_dump(mode="json") if gate else None,
        "kinds": kinds,
        "foreign_most": MOST,
        "holds": all(kinds[name]["fires"] <= MOST for name in FOREIGN),
    }


def rows(found: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Lines of the table: measure, found, must reach, reached."""
    lines = []
    for name, kind in found["kinds"].items():
        bound = found["foreign_most"] if name in FOREIGN else None
        lines.append(
            (
                f"fires on {name} ({kind['images']:,}; {CHOICE[kind['choice_saw']]})",
                f"{kind['fires']:.3f} (gate off {kind['fires_gate_off']:.3f}; it stops {kind['rejected']:.3f})",
                f"<= {bound:g}" if bound else "",
                bound is None or kind["fires"] <= bound,
            )
        )
    return lines


def _saw(name: str) -> str:
    """A key of CHOICE. Of the normal images of the test split no choice saw one, only others of their kind."""
    if name in foreign.KINDS:
        return "nothing"
    return "these images" if name == "digits" else "its kind"


def _shares(table: DecisionTable, scored: Scored) -> dict[str, Any]:
    gated, free = (decide(each, *scored).fires.any(axis=1) for each in (table, replace(table, floor=np.float32(0))))
    return {
        "images": len(scored[0]),
        "fires": round(float(np.mean(gated)), 4),
        "fires_gate_off": round(float(np.mean(free)), 4),
        "rejected": round(float((scored[1] < table.floor).mean()), 4),
    }


def _kinds(bundle: Bundle, engine: Engine) -> dict[str, Scored]:
    heads, spec = bundle.manifest.heads, bundle.manifest.image
    test = sample.images("test")
    usual = [image for image, known in zip(test, normal(test, heads), strict=True) if known]
    found = {"normal": _from_bytes(engine, [image.encoded() for image in usual])}
    for label, images in _held_out(heads).items():
        found[f"held out: {label}"] = _from_bytes(engine, [image.encoded() for image in images])
    found["digits"] = _from_bytes(engine, [_png(digit * (255 / 16)) for digit in load_digits().images])
    found |= {name: _from_bytes(engine, images) for name, images in foreign.images(recipe.sample().seed).items()}
    pixels = tensors.read(usual, heads, spec, "reading").image
    for name, spoilt in unlike.spoil(pixels, spec, np.random.default_rng(recipe.sample().seed)).items():
        outputs = [engine.run(row[None])[:2] for row in spoilt]  # one at a time, as the engine does on a CPU
        found[name] = np.concatenate([p for p, _ in outputs]), np.concatenate([t for _, t in outputs])
    return found


def _held_out(heads: Sequence[str]) -> dict[str, list[LabelledImage]]:
    """Images of the labels without a head, by label."""
    installed = fashion.INSTALLED.is_dir()
    every = fashion.installed() if installed else sample.images("test")
    used = {image.name for split in SPLITS for image in sample.images(split)} if installed else set()
    found: dict[str, list[LabelledImage]] = {label: [] for label in sample.schema().ids if label not in heads}
    for image in every:
        (label,) = image.present
        if label in found and image.name not in used and len(found[label]) < HELD_OUT:
            found[label].append(image)
    return found


def _from_bytes(engine: Engine, images: Sequence[bytes]) -> Scored:
    results = [result for result in engine.predict(images) if isinstance(result, Prediction)]
    assert len(results) == len(images)
    return np.stack([one.probability for one in results]), np.array([one.typicality for one in results], np.float32)


def _png(grey: npt.NDArray[np.float64]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(grey.round().astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


if __name__ == "__main__":
    print(json.dumps(run()))
