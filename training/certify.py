"""Which classes may answer by themselves, and the evidence for it.

Learn-then-Test (Angelopoulos, Bates, Candès, Jordan and Lei, 2021) with fixed-sequence testing and exact binomial tails:

1. Tuning images fix everything that can be chosen (tuning.py).
2. Certification images, one a case, are a random sample of the natural stream. An image whose label has no head is wrong
   wherever something fires, and so is one that nobody has looked at for the label that fires.
3. Per attempted class the thresholds are tested from the start towards lenient; the first that fails ends the sequence and
   the last that passed is the threshold. In groups that wait for each label, absence is tested too (absence.py). Each claim,
   of presence or of absence, has delta / attempted (Bonferroni over all of them), so that with probability 1 - delta *every*
   certificate holds. With `absence_delta` the claims of absence share that part of delta, and those of presence the rest.
4. The finished rules run through `decision.decide` on the same images and have to give the counts that were certified.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from model_store import decision, keys, rules
from model_store.bundle import Bundle
from model_store.decision import DecisionTable
from model_store.rules import Rules
from training import absence, data, ledger, sequence, tuning
from training.data import DataSet
from training.images import UNKNOWN
from training.issuing import issue
from training.points import above, chunks, free
from training.recipe import Certification, Recipe
from training.refusals import refuse
from training.rulebook import Absent, Rulebook, floor
from training.score import Scores, score
from training.sequence import Tested
from training.splits import one_per_case
from training.tuning import Tests


def run(bundle: Bundle, recipe: Recipe, out: Path, dataset: DataSet | None = None, key: Path | None = None) -> Rules:
    """Scores tune and certify, certifies, writes `<out>/rules/<digest>.json`, its signature, and a report beside the bundle.

    `key` is a private key file; without one the data folder's own signs.
    Raises a ModelStoreError for everything its caller can mend.
    """
    signer = keys.signing_key(out, key)  # before the work: a key that cannot be read would waste it
    dataset = dataset or data.load(recipe, out, bundle)
    chosen = one_per_case(dataset.parts["certify"], recipe.seed)
    dataset.require("tune", "certify")
    tuned, radius = dataset.parts["tune"], recipe.data.near_duplicates
    use = ledger.of_evidence(bundle, recipe, tuned, chosen)
    ledger.check(out, "tune", tuned, use, radius)  # before scoring; and again, under its lock, when it is recorded
    ledger.check(out, "certify", chosen, use, radius)
    provider = recipe.certification.provider
    tune = score(bundle, tuned, provider, "tuning")
    evidence = score(bundle, chosen, provider, "certifying")
    refuse(bundle.manifest, recipe, tune, evidence)
    ledger.record(out, "tune", tuned, use, radius)
    act = ledger.record(out, "certify", chosen, use, radius)  # before any rules exist: what proved something is spent
    attempt = ledger.attempt(out, act)
    made = certify(bundle, recipe, dataset.counts("train"), tune, evidence, act.when, attempt)
    issue(bundle, made, out, signer, attempt, refused=evidence.refused, outside=dict(dataset.outside))
    return made


def certify(
    bundle: Bundle,
    recipe: Recipe,
    trained_on: Mapping[str, int],
    tune: Scores,
    evidence: Scores,
    now: datetime.datetime,
    attempt: int = 0,
) -> Rules:
    """The rules that the evidence supports. `trained_on` counts training images by label, for the sentences alone.

    `now`: when the images were spent. `attempt`: certifications of the bundle before this one.

    Raises DataError for scores that nothing can be concluded from, DocumentError for a target of an unknown label.
    """
    refuse(bundle.manifest, recipe, tune, evidence)
    knobs, manifest = recipe.certification, bundle.manifest
    table = blank(bundle, recipe)
    tests = tuning.plan(table, tune, len(evidence), halved(knobs, attempt))
    table = replace(table, veto=tests.veto)
    book = Rulebook(bundle, recipe, trained_on, tune, evidence, table, tests, now, attempt)
    book.presence.update(presence(table, tests, evidence))
    for k in np.flatnonzero(tests.absence.attempted).tolist():
        book.absence[manifest.heads[k]] = _absence(table, tests.absence, evidence, k)
    made = book.rules()
    _check(made, bundle, evidence)
    return made


def halved(knobs: Certification, attempt: int) -> Certification:
    """The promise as this attempt has to prove it: `delta / 2**attempt`, so that all attempts risk less than twice delta."""
    absent = knobs.absence_delta
    return replace(knobs, delta=knobs.delta / 2**attempt, absence_delta=None if absent is None else absent / 2**attempt)


def blank(bundle: Bundle, recipe: Recipe) -> DecisionTable:
    """The table of rules under which nothing answers, with the floor that the bundle's gate asks for."""
    nothing = rules.assist_rules(bundle.digest, bundle.manifest, recipe.certification.provider, "none")
    table = DecisionTable.build(nothing, bundle.manifest)
    return replace(table, floor=np.float32(floor(bundle)))


def presence(table: DecisionTable, tests: Tests, evidence: Scores) -> dict[str, Tested]:
    """How the sequence of each attempted class ended, by label. The table has the tests' vetoes."""
    lenient = [
        each.threshold[-1] if attempted and len(each.threshold) else np.inf
        for each, attempted in zip(tests.candidates, tests.attempted, strict=True)
    ]
    points = above(table, evidence, np.array(lenient, np.float32))
    points = points.only(free(table, evidence, points))
    ended = {}
    for k in np.flatnonzero(tests.attempted).tolist():
        thresholds = tests.candidates[k].threshold[tests.candidates[k].start :]
        counts = points.counts(k, thresholds)
        ended[table.heads[k]] = sequence.presence(thresholds, *counts, float(tests.target[k]), tests.level)
    return ended


def _absence(table: DecisionTable, plan: absence.Tests, evidence: Scores, k: int) -> Absent:
    known, present = evidence.truth[:, k] != UNKNOWN, evidence.truth[:, k] == 1
    score, typical = evidence.probability[:, k], evidence.typicality >= table.floor
    tested = sequence.absence(
        plan.thresholds[k],
        score[present & typical],
        int(present.sum()),
        plan.target,
        plan.level,
        score[~known & typical],
    )
    called = np.zeros(len(score), np.bool_) if tested.below is None else known & typical & (score < tested.below)
    npv = float((~present[called]).mean()) if called.any() else None
    looked_at = max(known.sum(), 1)
    return Absent(tested, float(present.sum() / looked_at), npv, float(called.sum() / looked_at))


def _check(made: Rules, bundle: Bundle, evidence: Scores) -> None:
    """The rules as they will be served, on the images they were certified on: not one firing or absence more or less."""
    made.check_fits(bundle.digest, bundle.manifest)
    table = DecisionTable.build(made, bundle.manifest)
    heads = bundle.manifest.heads
    counted = np.zeros((3, len(heads)), np.int64)
    for part in chunks(evidence):
        served = decision.decide(table, evidence.probability[part], evidence.typicality[part])
        truth = evidence.truth[part]
        rows, columns = np.nonzero(served.fires)
        counted[0] += np.bincount(columns, minlength=len(heads))
        counted[1] += np.bincount(columns[truth[rows, columns] != 1], minlength=len(heads))
        if table.knows_absence:
            counted[2] += (served.absent & (truth != 0)).sum(axis=0)
    for k, head in enumerate(heads):
        certificate, absent = made.classes[head].certificate, made.classes[head].absence
        claimed = (
            certificate.firings if certificate else 0,
            certificate.errors if certificate else 0,
            absent.missed if absent else 0,
        )
        if tuple(counted[:, k].tolist()) != claimed:
            raise AssertionError(
                f"{head} was certified on other images than it is served with: {counted[:, k]}, {claimed}"
            )
