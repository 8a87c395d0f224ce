"""What a promise would buy, before anybody labels a certification set: from tuning images alone. Pure.

For one promise (target, delta), many times over:

1. The tuning images, one a case, are split at random into two halves. The first chooses vetoes, candidate thresholds and where
   to start, just as all tuning images do when it comes to it; so no threshold is judged on the images that chose it.
2. The second half, drawn again from itself with replacement (the bootstrap: Efron, 1979), stands for the stream. From it a
   certification set of the size that there will be is drawn, and `certify` does with it what it will do with the real one.
3. What the rules that come out do on that stream is one draw: share answered, errors, which classes passed.

The mean over the draws is what to expect, and between their 5th and 95th percentile lie nine of ten. The draws differ by the
luck of certification and by how little a half tells of the stream. Two limits: half the tuning images choose a little worse
than all will, and an error too rare to be among the tuning images is not foretold.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.bundle import Bundle
from training import certify
from training.errors import DataError
from training.evaluate import evaluate
from training.recipe import Recipe
from training.score import Scores

LOW, HIGH = 0.05, 0.95
FEWEST = 20
"""Tuning images below which halves say nothing."""
_ANY_TIME = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Estimate:
    """Mean of the draws, and the bounds between which nine of ten of them lie."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: Sequence[float]) -> Estimate | None:
        """None without a draw."""
        if not draws:
            return None
        low, high = np.quantile(draws, (LOW, HIGH))
        return cls(float(np.mean(draws)), float(low), float(high))


@dataclass(frozen=True)
class Promise:
    """What is to be expected of one promise."""

    target: float
    delta: float
    share: Estimate
    """Of all images, answered by the model alone."""
    errors: Estimate | None
    """Wrong answers per thousand automatic ones; None where no draw answered anything."""
    anything: float
    """Chance that any class passes."""
    classes: dict[str, float]
    """By head: chance to pass."""


def simulate(
    bundle: Bundle,
    recipe: Recipe,
    tune: Scores,
    images: int,
    promise: tuple[float, float],
    draws: int,
    advance: Callable[[int, str], None] = lambda steps, note: None,
) -> Promise:
    """`tune`: scored tuning images, one a case. `images`: how many will certify. `promise`: target, delta.

    Raises DataError where there are too few tuning images to say anything.
    """
    if len(tune) < FEWEST:
        raise DataError(f"{len(tune)} tuning images foretell nothing; plan with {FEWEST} or more in the split tune")
    target, delta = promise
    knobs = dataclasses.replace(recipe.certification, target=target, delta=delta)
    trial = dataclasses.replace(recipe, certification=knobs)
    rng = np.random.default_rng(recipe.seed)  # the same halves for each promise, so that promises compare
    shares, errors, passed = [], [], dict.fromkeys(bundle.manifest.heads, 0)
    for _ in range(draws):
        order = rng.permutation(len(tune))
        chosen, half = order[: len(tune) // 2], order[len(tune) // 2 :]
        stream = rng.choice(half, len(half))
        evidence = rng.choice(stream, images)
        made = certify.certify(bundle, trial, {}, take(tune, chosen), take(tune, evidence), _ANY_TIME)
        found = evaluate(bundle, made, take(tune, stream)).all
        shares.append(found.coverage)
        if found.answered:
            errors.append(1000 * found.wrong / found.answered)
        for head in passed:
            passed[head] += made.classes[head].state == "automatic"
        advance(1, f"{target:g}")
    share = Estimate.of(shares)
    assert share is not None, "at least one draw"
    return Promise(
        target=target,
        delta=delta,
        share=share,
        errors=Estimate.of(errors),
        anything=sum(each > 0 for each in shares) / draws,
        classes={head: count / draws for head, count in passed.items()},
    )


def take(scores: Scores, rows: npt.NDArray[np.int64]) -> Scores:
    """Some of the images, each as often as its row is named."""
    images = tuple(scores.images[row] for row in rows) if scores.images else ()
    return dataclasses.replace(
        scores,
        images=images,
        probability=scores.probability[rows],
        typicality=scores.typicality[rows],
        truth=scores.truth[rows],
    )
