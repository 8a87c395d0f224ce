"""Does the gate stop images unlike the training set? Asked of every model, at training time, with images at hand.

The images are what the tuning set has of labels without a head, and tuning images spoilt in six ways. Where every label has a
head, a stand-in: each kind's own images once its prototypes are removed. The network, its features and their whitening have
learned that kind all the same, so this shows that prototypes are close to their own kind and nothing about unknown ones; it is
kept for comparison and counts for nothing (gate_checks.py).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from model_store import manifest
from model_store.manifest import GateCheck, ImageSpec
from model_store.preprocess import preprocess
from training.gate_checks import HELD_OUT, STAND_IN, shortfalls
from training.typicality import Features, Gate, Images, Integers

SPOILT = 500
"""Tuning images that are spoilt, at most."""
PATCHES = 4
"""To a side, when patches are shuffled."""


def spoil(image: Images, spec: ImageSpec, rng: np.random.Generator) -> dict[str, Images]:
    """Tensors `[n, H, W, 3]` -> by the name of the harm, as many tensors."""
    top = np.iinfo(image.dtype).max
    width = (0, spec.height / 16, spec.width / 16, 0)
    levels = rng.integers(0, top, (len(image), 1, 1, 1), image.dtype, endpoint=True)
    return {
        "noise": rng.integers(0, top, image.shape, image.dtype, endpoint=True),
        "blank": np.broadcast_to(levels, image.shape).copy(),
        "shuffled": np.stack([_shuffle(one, rng) for one in image]),
        "inverted": top - image,
        "rotated": np.stack([preprocess(np.rot90(one), spec) for one in image]),
        "blur": gaussian_filter(image.astype(np.float32), width).round().astype(image.dtype),
    }


def _shuffle(image: Images, rng: np.random.Generator) -> Images:
    """`[H, W, 3]` cut into PATCHES x PATCHES that change places; rows and columns left over stay."""
    high, wide = (max(1, side // PATCHES) for side in image.shape[:2])
    corners = [(top, left) for top in range(0, PATCHES * high, high) for left in range(0, PATCHES * wide, wide)]
    corners = [(top, left) for top, left in corners if top + high <= image.shape[0] and left + wide <= image.shape[1]]
    out = image.copy()
    for (top, left), source in zip(corners, rng.permutation(len(corners)), strict=True):
        down, across = corners[source]
        out[top : top + high, left : left + wide] = image[down : down + high, across : across + wide]
    return out


def check(
    gate: Gate,
    describe: Callable[[Images], Features],
    tuning: tuple[Images, Features],
    normal: npt.NDArray[np.bool_],
    kind: Integers,
    spec: ImageSpec,
    reject: float,
    seed: int,
) -> manifest.Gate:
    """Runs every check. tuning: images and features of all tuning images, of which `normal` are and `kind` is each."""
    image, seen = tuning
    usual = seen[normal]
    rng = np.random.default_rng(seed)
    checks = []
    if not normal.all():
        checks.append(_compare(HELD_OUT, [(gate, seen[~normal], usual)], reject))
    else:
        trials = [
            (gate.without(int(one), usual[kind != one]), usual[kind == one], usual[kind != one])
            for one in np.unique(gate.kinds)
            if 0 < (kind == one).sum() < len(kind) and (gate.kinds != one).any()
        ]
        checks += [_compare(STAND_IN, trials, reject)] if trials else []
    spoilt = spoil(image[rng.permutation(np.flatnonzero(normal))[:SPOILT]], spec, rng)
    checks += [_compare(name, [(gate, describe(bad), usual)], reject) for name, bad in spoilt.items()]
    return manifest.Gate(
        kind=gate.over,
        prototypes=len(gate.kinds),
        images=len(usual),
        reject=reject,
        validated=not shortfalls(checks),
        checks=tuple(checks),
    )


def _compare(name: str, trials: list[tuple[Gate, Features, Features]], reject: float) -> GateCheck:
    """Each trial is a gate, strange images and normal ones; a check over several is their mean by strange images."""
    weights = np.array([len(strange) for _, strange, _ in trials])
    rejected = [float((gate.shares(strange) < reject).mean()) for gate, strange, _ in trials]
    apart = [auroc(gate.scores(strange), gate.scores(usual)) for gate, strange, usual in trials]
    return GateCheck(
        name=name,
        images=int(weights.sum()),
        rejected=float(np.average(rejected, weights=weights)),
        auroc=float(np.average(apart, weights=weights)),
    )


def auroc(strange: Features, usual: Features) -> float:
    """P(a strange image scores below a usual one), ties half (Mann-Whitney)."""
    ranks = rankdata(np.concatenate([usual, strange]))[: len(usual)]
    return float((ranks.sum() - len(usual) * (len(usual) + 1) / 2) / (len(usual) * len(strange)))
