"""Fashion-MNIST as scores: one model trained by this project's own code, one fixed population that it never saw.

All 70,000 images where Debian's `dataset-fashion-mnist` is installed, else the 12,600 that are shipped. The scores are kept in
build/bench-certify/, so that the training happens once; delete the folder to have it again.
"""

from __future__ import annotations

import dataclasses
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.labels import LabelSchema
from training import calibrate, loop, model, recipe, sample, tensors
from training.images import LabelledImage, from_bytes, truth
from training.score import Scores

INSTALLED = Path("/usr/share/datasets/fashion-mnist")
KEPT = Path("build/bench-certify")
TRAIN, TUNE = 24_000, 5_000
SEED, EPOCHS = 11, 10


@dataclass(frozen=True)
class World:
    """What a model says of tuning images and of a population; ten heads in one exclusive group."""

    name: str
    schema: LabelSchema
    tune: Scores
    population: Scores

    @property
    def accuracy(self) -> float:
        best = self.population.probability.argmax(axis=1)
        return float((self.population.truth[np.arange(len(best)), best] == 1).mean())


def world() -> World:
    """Read from build/ or, the first time, trained and scored."""
    name = "fashion-mnist" if INSTALLED.is_dir() else "sample"
    path = KEPT / f"{name}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = _make(name)
        with path.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **made)
    with np.load(path) as kept:
        tune, population = (
            Scores((), kept[f"{what}_p"], np.ones(len(kept[f"{what}_p"]), np.float32), kept[f"{what}_t"], 0)
            for what in ("tune", "population")
        )
    return World(name, sample.schema(), tune, population)


def _make(name: str) -> dict[str, npt.NDArray[np.generic]]:
    """Trains on two threads and scores tune and population; `_p` float32 and `_t` int8, `[N, 10]` each."""
    import torch

    images = (
        _installed() if name == "fashion-mnist" else [one for split in sample.SPLITS for one in sample.images(split)]
    )
    order = np.random.default_rng(SEED).permutation(len(images))
    learn, choose = (TRAIN, TUNE) if name == "fashion-mnist" else (5_000, 2_000)
    parts = {
        "train": [images[i] for i in order[:learn]],
        "tune": [images[i] for i in order[learn : learn + choose]],
        "population": [images[i] for i in order[learn + choose :]],
    }
    shipped = recipe.sample()
    knobs = dataclasses.replace(shipped.training, epochs=EPOCHS, threads=2)
    heads = sample.schema().ids
    torch.set_num_threads(2)
    torch.manual_seed(SEED)
    seen = tensors.read(parts["train"], heads, shipped.image, "reading")
    prior = (seen.truth == 1).mean(axis=0).astype(np.float32)
    network = model.create(shipped, prior, *seen.moments())
    loop.fit(network, seen, knobs, SEED)
    logits = {}
    for what in ("tune", "population"):
        found = [
            loop.logits(network, tensors.read(parts[what][at : at + 5_000], heads, shipped.image, what), 256)
            for at in range(0, len(parts[what]), 5_000)
        ]
        logits[what] = np.concatenate(found)
    told = {what: truth(parts[what], heads) for what in logits}
    platt = calibrate.fit(logits["tune"], told["tune"])
    made: dict[str, npt.NDArray[np.generic]] = {}
    for what, values in logits.items():
        made[f"{what}_p"] = (1 / (1 + np.exp(-(platt.slope * values + platt.offset)))).astype(np.float32)
        made[f"{what}_t"] = told[what]
    return made


def _installed() -> list[LabelledImage]:
    """All 70,000, from the idx files."""
    heads = sample.schema().ids
    found = []
    for part in ("train", "t10k"):
        with gzip.open(INSTALLED / f"{part}-images-idx3-ubyte.gz") as stream:
            pixels = np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 28, 28)
        with gzip.open(INSTALLED / f"{part}-labels-idx1-ubyte.gz") as stream:
            digits = np.frombuffer(stream.read(), np.uint8, offset=8)
        names = _names(heads)
        found += [
            from_bytes(sample.png(one), f"{part}-{row}", (names[int(digit)],))
            for row, (one, digit) in enumerate(zip(pixels, digits, strict=True))
        ]
    return found


def _names(heads: tuple[str, ...]) -> dict[int, str]:
    """Fashion-MNIST's digit for each label of the sample: index.json lists its classes in the order of the digits."""
    return dict(enumerate(heads))
