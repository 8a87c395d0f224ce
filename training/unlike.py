"""Does the gate stop images unlike the training set? Asked of every model, at training time, with images at hand.

The images are what the tuning set has of labels without a head, and tuning images spoilt in six ways. The rule for
*validated* is one place, `shortfalls`; docs/training.md gives its reasons.
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
from training.typicality import Features, Gate, Images, Integers

ENOUGH = 0.8
"""Of noise and of blank images so many have to be rejected, and the mean AUROC has to be so high."""
STRANGERS = 0.7
"""The AUROC that images of strange classes take."""
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
        checks.append(_compare("held_out", [(gate, seen[~normal], usual)], reject))
    else:
        trials = [
            (gate.without(int(one), usual[kind != one]), usual[kind == one], usual[kind != one])
            for one in np.unique(gate.kinds)
            if 0 < (kind == one).sum() < len(kind) and (gate.kinds != one).any()
        ]
        checks += [_compare("left_out", trials, reject)] if trials else []
    spoilt = spoil(image[rng.permutation(np.flatnonzero(normal))[:SPOILT]], spec, rng)
    checks += [_compare(name, [(gate, describe(bad), usual)], reject) for name, bad in spoilt.items()]
    return manifest.Gate(
        prototypes=len(gate.kinds),
        images=len(usual),
        reject=reject,
        validated=not shortfalls(tuple(checks)),
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


def shortfalls(checks: tuple[GateCheck, ...]) -> tuple[str, ...]:
    """What keeps a gate from counting as validated, a clause each; none when it does."""
    by_name = {one.name: one for one in checks}
    found = [
        f"{name} images are rejected at {by_name[name].rejected:.2f}, which should be {ENOUGH:g}"
        for name in ("noise", "blank")
        if by_name[name].rejected < ENOUGH
    ]
    strange = by_name.get("held_out") or by_name.get("left_out")
    if strange is None:
        found.append("there is one kind of image only, so that none could be held out")
    elif strange.auroc < STRANGERS:
        found.append(
            f"classes it does not know ({strange.name}) have AUROC {strange.auroc:.2f}, which should be {STRANGERS:g}"
        )
    mean = float(np.mean([one.auroc for one in checks]))
    if mean < ENOUGH:
        found.append(f"the mean AUROC is {mean:.2f}, which should be {ENOUGH:g}")
    return tuple(found)
