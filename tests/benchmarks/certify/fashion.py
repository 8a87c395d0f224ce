"""Fashion-MNIST as scores: one bundle trained as users train theirs, one fixed population that it never saw.

All 70,000 images where Debian's `dataset-fashion-mnist` is installed, else the 12,600 that are shipped. About one image in 25
of the tuning images and of the population is a handwritten digit (scikit-learn's), whose label has no head. Bundle and scores
are kept in build/bench-certify/, so that the training happens once; delete the folder to have it again.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

from model_store import bundle as bundles
from model_store.bundle import Bundle
from model_store.labels import Label
from training import recipe as recipes
from training import sample, train
from training.images import LabelledImage, from_bytes
from training.recipe import Recipe
from training.score import Scores, score
from training.splits import SPLITS

INSTALLED = Path("/usr/share/datasets/fashion-mnist")
KEPT = Path("build/bench-certify")
PARTS = {"fashion-mnist": (24_000, 5_000), "sample": (5_000, 2_000)}
"""Images to train and to tune on; the rest is the population."""
SEED, EPOCHS = 12, 10
STRANGERS = 0.04
"""Share of the images beside the training images that are digits, as far as there are so many."""


@dataclass(frozen=True)
class World:
    """A bundle with its gate, and what it says of tuning images and of a population; one exclusive group."""

    name: str
    bundle: Bundle
    recipe: Recipe
    tune: Scores
    population: Scores

    @property
    def accuracy(self) -> float:
        """Share of the population's images with a head whose highest score is right."""
        return train.accuracy(self.population.probability, self.population.truth)

    @property
    def strangers(self) -> float:
        """Share of the population whose label has no head."""
        return float((self.population.truth == 0).all(axis=1).mean())


def world(name: str = "") -> World:
    """Read from build/ or, the first time, trained and scored. name: `fashion-mnist` or `sample`."""
    name = name or ("fashion-mnist" if INSTALLED.is_dir() else "sample")
    folder = KEPT / f"promise-{name}-{SEED}"
    recipe = _recipe(name)
    path, scores = folder / "models" / recipe.name / recipe.version, folder / "scores.npz"
    if not scores.exists():
        _make(name, recipe, folder)
    with np.load(scores) as kept:
        tune, population = (
            Scores((), kept[f"{what}_probability"], kept[f"{what}_typicality"], kept[f"{what}_truth"], 0)
            for what in ("tune", "population")
        )
    return World(name, bundles.open(path), recipe, tune, population)


def _recipe(name: str) -> Recipe:
    """The shipped recipe, its epochs fewer, with a label for the digits; the data is filled in when it is there."""
    shipped = recipes.sample()
    labels = (*sample.schema().labels, Label(id="digit", name="Digit"))
    return dataclasses.replace(
        shipped,
        name=f"promise-{name}",
        seed=SEED,
        data=dataclasses.replace(shipped.data, labels=labels, near_duplicates=0),
        training=dataclasses.replace(shipped.training, epochs=EPOCHS, threads=2),
    )


def _make(name: str, recipe: Recipe, folder: Path) -> None:
    """Trains on two threads, where that is not done yet, and scores tune and population through the engine."""
    parts = _parts(name)
    path = folder / "models" / recipe.name / recipe.version
    if not path.exists():
        with tempfile.TemporaryDirectory() as scratch:
            source = _written({split: parts[split] for split in ("train", "tune")}, Path(scratch))
            train.run(dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, source=str(source))), folder)
    made: dict[str, npt.NDArray[np.generic]] = {}
    for what in ("tune", "population"):
        found = score(bundles.open(path), parts[what], "cpu", what)
        for field in ("probability", "typicality", "truth"):
            made[f"{what}_{field}"] = getattr(found, field)
    with (folder / "scores.npz").open("wb") as stream:
        np.savez(stream, allow_pickle=False, **made)


def _parts(name: str) -> dict[str, list[LabelledImage]]:
    """train, tune, population: shuffled; the digits shuffled in among the last two."""
    images = installed() if name == "fashion-mnist" else [one for split in SPLITS for one in sample.images(split)]
    rng = np.random.default_rng(SEED)
    images = [images[i] for i in rng.permutation(len(images))]
    learn, choose = PARTS[name]
    rest = [*images[learn:], *_digits(round(STRANGERS * (len(images) - learn)))]
    rest = [rest[i] for i in rng.permutation(len(rest))]
    return {"train": images[:learn], "tune": rest[:choose], "population": rest[choose:]}


def _written(parts: Mapping[str, Sequence[LabelledImage]], folder: Path) -> Path:
    """The images as files and the CSV that names them, as users have them."""
    table = folder / "images.csv"
    with table.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("path", "label", "case", "split"))
        for split, images in parts.items():
            for image in images:
                path = folder / f"{image.case}.png"
                path.write_bytes(image.encoded())
                rows.writerow((path.name, ";".join(image.present), image.case, split))
    return table


def _digits(most: int) -> list[LabelledImage]:
    grey = (load_digits().images[:most] * (255 / 16)).round().astype(np.uint8)
    return [from_bytes(sample.png(one), f"digit-{row}", ("digit",)) for row, one in enumerate(grey)]


def installed() -> list[LabelledImage]:
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
