"""Evidence for rare classes: which images are read so that a class that lacks evidence can be certified. Pure.

From all traffic, a class that fires on one image in two hundred takes two hundred reads for one firing. So only images are
read on which it would fire from some lenient threshold on, each with the same probability, blind. They are a uniform sample of
its firings at that threshold and so, among themselves, at every stricter one: the fixed sequence test runs on them as it does
on certification images (from_log.py). How many are read is part of the plan, which is signed before the first is drawn.
"""

from __future__ import annotations

import numpy as np

from model_store.binomial import fewest_draws
from model_store.rules import Sampling
from training.binomial import chance_to_pass, upper_bound
from training.lacks import answers_needed
from training.recipe import Certification
from training.tuning import Candidates

NEARLY = 0.7
"""Of the best chance that any number of reads gives. The rest would cost several times the reads."""
_STEP, _STEPS, _LOOKED = 1.2, 18, 8
_DOUBT = 0.1
"""A threshold is plausible unless the tuning images refute its precision at this level."""


def hopeful(tried: Candidates, knobs: Certification, target: float, level: float) -> bool:
    """Whether a class that could not be certified gathers evidence: tuning images leave hope for it."""
    if not knobs.sampling or not len(tried.threshold):
        return False
    return answers_needed(float(tried.errors[tried.start] / tried.firings[tried.start]), target, level) is not None


def plan(tried: Candidates, knobs: Certification, target: float, level: float) -> Sampling | None:
    """How a class that could not be certified gathers evidence; None where there is no hope. `level`: its later test's."""
    if not hopeful(tried, knobs, target, level):
        return None
    firings, errors = tried.firings, tried.errors
    plausible = [i for i in range(len(firings)) if upper_bound(int(firings[i]), int(errors[i]), _DOUBT) >= target]
    lenient = max(plausible[-1] if plausible else tried.start, tried.start)
    drawn = Sampling(threshold=float(tried.threshold[lenient]), probability=knobs.sampling)
    return drawn.model_copy(update={"reads": reads(drawn, tried, target, level)})


def reads(drawn: Sampling, tried: Candidates, target: float, level: float) -> int:
    """How many cases to read: the fewest that have nearly the best chance to pass, at whichever threshold, judged from tuning
    images."""
    at = _at(drawn, tried)
    looked = np.unique(np.linspace(0, at, _LOOKED).round().astype(np.intp))
    firings, errors = tried.firings[looked], tried.errors[looked]
    sizes = np.ceil(fewest_draws(0, 1 - target, level) * _STEP ** np.arange(_STEPS)).astype(np.int64)
    answers = np.round(sizes[:, None] * (firings / tried.firings[at])).astype(np.int64)
    seen, wrong = (np.broadcast_to(each, answers.shape).ravel() for each in (firings, errors))
    chance = chance_to_pass(seen, wrong, answers.ravel(), target, level).reshape(answers.shape).max(axis=1)
    return int(sizes[np.flatnonzero(chance >= NEARLY * chance.max())[0]])


def share(drawn: Sampling, tried: Candidates, images: int) -> float:
    """Share of the stream that is read, judged from so many tuning images."""
    return float(tried.firings[_at(drawn, tried)] / images * drawn.probability)


def _at(drawn: Sampling, tried: Candidates) -> int:
    return int(np.flatnonzero(tried.threshold >= np.float32(drawn.threshold))[-1])


def says(drawn: Sampling | None, tried: Candidates, images: int) -> str:
    """The plan as a clause, empty without one."""
    if drawn is None:
        return ""
    return (
        f"; or let it gather evidence in operation: {drawn.reads} reads, drawn from "
        f"{share(drawn, tried, images):.2%} of the stream (where it scores {drawn.threshold:.3g} or more)"
    )
