"""For people: what a class is missing to the next state, computed and not guessed. One clause each. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from model_store.binomial import fewest_draws
from training import absence
from training.binomial import allowed_errors
from training.recipe import Certification
from training.sequence import Tested, TestedAbsence
from training.tuning import Candidates

_MOST = 10_000_000


def images(have: int, need: int) -> str:
    """A label without a head."""
    if have >= need:
        return "the bundle has no head for it; train again"
    return f"{have} training images of the {need} that a head takes; label {need - have} more"


def evidence(have: int, heads: Sequence[str], promise: Certification) -> str:
    """Certification images, one a case, that could not prove the easiest target even with all of delta and no error."""
    target = min(promise.target_of(label) for label in heads)
    need = fewest_draws(0, 1 - target, promise.delta)
    if have >= need:
        return ""
    return (
        f"only {have:,} images can certify, and it takes {need:,} right answers to prove {target:g}: nothing will answer by "
        f"itself; label {need - have:,} more or give the split certify a larger share"
    )


def presence(tried: Candidates, tested: Tested | None, target: float, level: float, scale: float = 1.0) -> str:
    """A class that was not attempted (tested None) or whose first test failed.

    level: the part of delta that it has, or would have beside those that are attempted. scale: certification images for
    each tuning image.
    """
    if not len(tried.threshold):
        return "not attempted: no tuning image lets it fire; label more images of it"
    firings, errors = int(tried.firings[tried.start]), int(tried.errors[tried.start])
    proves = answers_needed(errors / firings, target, level)
    seen = f"on tuning images {errors} of {firings} answers are wrong at its best threshold"
    if tested is None:
        if proves is None:
            return f"not attempted: {seen}, too many to prove {target:g} on any evidence; train on more images of it"
        return (
            f"not attempted: {seen}; about {round(firings * scale)} are expected on the certification images, and at that rate "
            f"it takes {proves} answers to prove {target:g} with its share of delta; certify on more images"
        )
    more = fewest_draws(tested.errors, 1 - target, level) - tested.firings
    said = f"{more} more correct answers: {tested.firings} with {tested.errors} wrong do not prove {target:g}"
    if proves is None:
        return f"{said}, and {seen}, too many to prove it on any evidence; train on more images of it"
    return f"{said}; certify on more images"


def unlooked(answers: int) -> str:
    """Of a class that fires on so many images without a label for it; empty for none."""
    if not answers:
        return ""
    return f"; {answers} of its answers are on images that nobody has looked at for it and count as wrong; label them"


def absent(found: TestedAbsence | None, plan: absence.Tests, k: int) -> str:
    """A label whose absence was wanted and is not certified."""
    level = plan.level
    need = fewest_draws(0, plan.target, level)
    if found is None:
        expected = round(int(plan.positives[k]) * plan.scale)
        return (
            f"absence not attempted: {need} images that show it are needed to prove that at most {plan.target:g} are "
            f"called absent, and about {expected} certify; label more of them"
        )
    more = fewest_draws(found.missed, plan.target, level) - found.positives
    return (
        f"absence: {more} more images that show it: {found.missed} called absent of {found.positives} do not prove at most "
        f"{plan.target:g}"
    )


@lru_cache(maxsize=4096)
def answers_needed(rate: float, target: float, level: float) -> int | None:
    """The fewest answers that prove the target when a share `rate` of them is wrong; None when no number does."""
    if rate >= 1 - target:
        return None
    low, high = 0, 1
    while not _enough(high, rate, target, level):
        low, high = high, 2 * high
        if high > _MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _enough(middle, rate, target, level) else (middle, high)
    return high


def _enough(answers: int, rate: float, target: float, level: float) -> bool:
    return int(allowed_errors(answers, target, level)) >= math.ceil(rate * answers - 1e-9)
