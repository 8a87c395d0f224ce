"""Evidence for rare classes: which images are read so that a class that lacks evidence can be certified. Pure.

From all traffic, a class that fires on one image in two hundred takes two hundred reads for one firing. So only images are
read on which it would fire from some lenient threshold on, each with the same probability, blind. They are a uniform sample of
its firings at that threshold and so, among themselves, at every stricter one: the fixed sequence test runs on them as it does
on certification images (from_log.py).
"""

from __future__ import annotations

import math

import numpy as np

from model_store.rules import Sampling
from training.binomial import upper_bound
from training.lacks import answers_needed
from training.recipe import Certification
from training.tuning import Candidates

_DOUBT = 0.1
"""A threshold is plausible unless the tuning images refute its precision at this level."""


def plan(tried: Candidates, knobs: Certification, target: float, level: float) -> Sampling | None:
    """How a class that could not be certified gathers evidence; None where tuning images leave no hope for it."""
    if not knobs.sampling or not len(tried.threshold):
        return None
    firings, errors = tried.firings, tried.errors
    if answers_needed(float(errors[tried.start] / firings[tried.start]), target, level) is None:
        return None
    plausible = [i for i in range(len(firings)) if upper_bound(int(firings[i]), int(errors[i]), _DOUBT) >= target]
    lenient = max(plausible[-1] if plausible else tried.start, tried.start)
    return Sampling(threshold=float(tried.threshold[lenient]), probability=knobs.sampling)


def reads(drawn: Sampling, tried: Candidates, target: float, level: float) -> int | None:
    """About how many images have to be read: enough answers at the best threshold, and what is drawn below it."""
    answers = answers_needed(float(tried.errors[tried.start] / tried.firings[tried.start]), target, level)
    at = int(np.flatnonzero(tried.threshold >= np.float32(drawn.threshold))[-1])
    return None if answers is None else math.ceil(answers * float(tried.firings[at] / tried.firings[tried.start]))


def share(drawn: Sampling, tried: Candidates, images: int) -> float:
    """Share of the stream that is read, judged from so many tuning images."""
    at = int(np.flatnonzero(tried.threshold >= np.float32(drawn.threshold))[-1])
    return float(tried.firings[at] / images * drawn.probability)


def says(drawn: Sampling | None, tried: Candidates, images: int, target: float, level: float) -> str:
    """The plan as a clause, empty without one."""
    if drawn is None:
        return ""
    return (
        f"; or let it gather evidence in operation: {reads(drawn, tried, target, level)} reads, drawn from "
        f"{share(drawn, tried, images):.2%} of the stream (where it scores {drawn.threshold:.3g} or more)"
    )
