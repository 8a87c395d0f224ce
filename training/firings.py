"""The tests of a class on readings of its own firings, and the rules that come of them. Pure.

The candidates are those of any certification, from the same tuning images; vetoes and floor are the rules' own. Nothing else in
the rules changes, so that every older certificate holds.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import numpy as np

from model_store.bundle import Bundle
from model_store.decision import DecisionTable
from model_store.rules import ClassRule, Rules
from training import lacks, sampling, sequence, tuning
from training.certify import halved
from training.gathered import Evidence
from training.issuing import certificate, particulars
from training.points import above, free
from training.recipe import Certification
from training.score import Scores
from training.tuning import Tests


def plan(bundle: Bundle, knobs: Certification, old: Rules, tune: Scores) -> Tests:
    """The tests of all classes with a sampling plan, whichever have their readings by now. Pure."""
    heads = bundle.manifest.heads
    target = np.array([knobs.target_of(head) for head in heads])
    drawn = [old.classes[head].sampling for head in heads]
    reads = np.array([each.reads or 0 if each else 0 for each in drawn])
    return tuning.among_firings(DecisionTable.build(old, bundle.manifest), tune, reads, target, knobs)


def certify(
    bundle: Bundle,
    knobs: Certification,
    old: Rules,
    tune: Scores,
    found: Mapping[str, Evidence],
    now: datetime.datetime,
    attempt: int = 0,
) -> Rules:
    """The old rules, and a certificate for every class whose readings support one. Pure.

    found: of the classes that are tested, as many readings as their plans say. attempt: certifications of the bundle before.
    """
    heads = bundle.manifest.heads
    table = DecisionTable.build(old, bundle.manifest)
    tests = plan(bundle, halved(knobs, attempt), old, tune)
    classes = dict(old.classes)
    for label, each in found.items():
        k, evidence = heads.index(label), each.scores
        target, tried, level = float(tests.target[k]), tests.candidates[k], tests.level
        rule = old.classes[label]
        assert rule.sampling is not None
        missing = "not attempted: too few readings, or too many wrong on tuning images"
        if tests.attempted[k]:
            lowest = np.where(np.arange(len(heads)) == k, np.float32(rule.sampling.threshold), np.float32(np.inf))
            points = above(table, evidence, lowest)
            points = points.only(free(table, evidence, points))
            thresholds = tried.threshold[tried.start :]
            tested = sequence.presence(thresholds, *points.counts(k, thresholds), target, level)
            if tested.threshold is not None:
                said = particulars(knobs, old.sites, old.provider, old.precision, evidence, now, attempt)
                share = None if each.share is None else each.share * tested.firings / len(evidence)
                said |= {"drawn": "firings", "firing_share": share, "images_from": each.since}
                classes[label] = ClassRule(
                    state="automatic",
                    threshold=float(tested.threshold),
                    veto=rule.veto,
                    absent_below=rule.absent_below,
                    certificate=certificate(tests, k, tested, old.ground, label, **said),
                    absence=rule.absence,
                )
                continue
            missing = lacks.presence(tried, tested, target, level)
        later = knobs.delta / 2 ** (attempt + 1) / tests.shared_by
        again = rule.sampling
        if len(tried.threshold):
            again = again.model_copy(update={"reads": sampling.reads(again, tried, target, later)})
        lacking = f"after {len(evidence)} blind readings: {missing}"
        classes[label] = rule.model_copy(update={"lacks": lacking, "sampling": again})
    made = Rules(**{**{name: getattr(old, name) for name in Rules.model_fields}, "classes": classes})
    made.check_fits(bundle.digest, bundle.manifest)
    return made
