"""Which classes may answer by themselves, and the evidence for it.

Learn-then-Test (Angelopoulos, Bates, Candès, Jordan and Lei, 2021) with fixed-sequence testing and exact binomial tails:

1. Tuning images fix everything that can be chosen (tuning.py).
2. Certification images, one a case, are a random sample of the natural stream. An image whose label has no head is wrong
   wherever something fires.
3. Per attempted class the thresholds are tested from the start towards lenient; the first that fails ends the sequence and
   the last that passed is the threshold. Each class has delta / attempted (Bonferroni), so that with probability 1 - delta
   *every* certificate holds.
4. The finished rules run through `decision.decide` on the same images and have to give the counts that were certified.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store import decision, keys, rules, signing
from model_store.bundle import Bundle
from model_store.certificates import ground_hash, rule_hash
from model_store.decision import DecisionTable
from model_store.rules import NO_VETO, Certificate, ClassRule, Rules
from training import data, report, tuning
from training.binomial import allowed_errors, firings_needed, lower_bound
from training.data import DataSet
from training.errors import DataError
from training.images import UNKNOWN, fingerprint
from training.recipe import Certification, Recipe
from training.score import Scores, score
from training.splits import one_per_case
from training.tuning import Candidates


@dataclass(frozen=True)
class Verdict:
    """How one class's sequence of tests ended: at the last threshold that passed it fired so often, so often wrongly.

    `threshold` is None when no test passed; the counts are then those of the first test, which failed.
    """

    threshold: np.float32 | None
    firings: int
    errors: int


def run(bundle: Bundle, recipe: Recipe, out: Path, dataset: DataSet | None = None, key: Path | None = None) -> Rules:
    """Scores tune and certify, certifies, writes `<out>/rules/<digest>.json`, its signature, and a report beside the bundle.

    `key` is a private key file; without one the data folder's own signs.
    Raises a ModelStoreError for everything its caller can mend.
    """
    signer = keys.signing_key(out, key)  # before the work: a key that cannot be read would waste it
    dataset = dataset or data.load(recipe)
    chosen = one_per_case(dataset.parts["certify"], recipe.seed)
    if not chosen or not dataset.parts["tune"]:
        raise DataError("the split tune or certify is empty; add images, or give it a larger share")
    provider = recipe.certification.provider
    tune = score(bundle, dataset.parts["tune"], provider, "tuning")
    evidence = score(bundle, chosen, provider, "certifying")
    made = certify(bundle, recipe, dataset.counts("train"), tune, evidence, datetime.datetime.now(datetime.UTC))
    signing.write(rules.write(out, made), signing.sign(made, signer))
    report.write(
        bundle,
        f"certificate-{made.digest.removeprefix('sha256:')[:12]}",
        {"digest": made.digest, "refused": evidence.refused, "rules": made.model_dump(mode="json")},
    )
    return made


def certify(
    bundle: Bundle,
    recipe: Recipe,
    trained_on: Mapping[str, int],
    tune: Scores,
    evidence: Scores,
    now: datetime.datetime,
) -> Rules:
    """The rules that the evidence supports. `trained_on` counts training images by label, for the sentences alone."""
    knobs, manifest = recipe.certification, bundle.manifest
    nothing = rules.assist_rules(bundle.digest, manifest, knobs.provider, knobs.sites[0])
    floor = manifest.gate.reject if manifest.gate else 0.0
    table = replace(DecisionTable.build(nothing, manifest), floor=np.float32(floor))
    plan = tuning.plan(table, tune, len(evidence), knobs)
    table = replace(table, veto=plan.veto)
    eligible = decision.eligible(table, evidence.probability, evidence.typicality)
    seen = fingerprint(evidence.images)
    vetoes = {
        head: float(veto) if np.isfinite(veto) else NO_VETO
        for head, veto in zip(manifest.heads, plan.veto, strict=True)
    }
    ground = ground_hash(
        project=knobs.project,
        bundle=bundle.digest,
        labels=manifest.labels.digest,
        typicality_floor=floor,
        conditions=knobs.conditions,
        vetoes={label: vetoes.get(label, NO_VETO) for label in manifest.labels.ids},
    )
    classes: dict[str, ClassRule] = {}
    for label in manifest.labels.ids:
        if label not in manifest.heads:
            classes[label] = ClassRule(state="human", lacks=_lacks_images(trained_on.get(label, 0), recipe))
            continue
        k = manifest.heads.index(label)
        veto = vetoes[label]
        if not plan.attempted[k]:
            classes[label] = ClassRule(state="assist", veto=veto, lacks=_lacks_hope(plan.candidates[k], knobs))
            continue
        verdict = sequence(
            plan.candidates[k],
            evidence.probability[:, k],
            eligible[:, k],
            evidence.truth[:, k],
            knobs.target,
            plan.delta,
        )
        if verdict.threshold is None:
            classes[label] = ClassRule(state="assist", veto=veto, lacks=_lacks_proof(verdict, knobs, plan.delta))
            continue
        certificate = Certificate(
            target=knobs.target,
            delta=knobs.delta,
            attempted=int(plan.attempted.sum()),
            firings=verdict.firings,
            errors=verdict.errors,
            bound=lower_bound(verdict.firings, verdict.errors, plan.delta),
            images=len(evidence),
            sites=knobs.sites,
            provider=knobs.provider,
            precision=manifest.precision,
            rule=rule_hash(ground, "fires", label, float(verdict.threshold)),
            data_fingerprint=seen,
            certified_at=now,
            valid_until=now + datetime.timedelta(days=knobs.valid_days),
        )
        classes[label] = ClassRule(
            state="automatic", threshold=float(verdict.threshold), veto=veto, certificate=certificate
        )
    made = Rules(
        bundle=bundle.digest,
        labels=manifest.labels.digest,
        project=knobs.project,
        sites=knobs.sites,
        provider=knobs.provider,
        precision=manifest.precision,
        typicality_floor=floor,
        conditions=knobs.conditions,
        classes=classes,
    )
    _check(made, bundle, evidence)
    return made


def sequence(
    candidates: Candidates,
    probability: npt.NDArray[np.float32],
    eligible: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.int8],
    target: float,
    delta: float,
) -> Verdict:
    """Tests one class's thresholds from the start towards lenient, up to the first that fails. Images are `[N]`."""
    passed: Verdict | None = None
    for threshold in candidates.threshold[candidates.start :]:
        fires = eligible & (probability >= threshold) & (truth != UNKNOWN)
        firings, errors = int(fires.sum()), int((fires & (truth == 0)).sum())
        if allowed_errors(firings, target, delta) < errors:
            return passed or Verdict(None, firings, errors)
        passed = Verdict(threshold, firings, errors)
    return passed or Verdict(None, 0, 0)


def _check(made: Rules, bundle: Bundle, evidence: Scores) -> None:
    """The rules as they will be served, on the images they were certified on: not one firing more or less."""
    made.check_fits(bundle.digest, bundle.manifest)
    served = decision.decide(DecisionTable.build(made, bundle.manifest), evidence.probability, evidence.typicality)
    for k, head in enumerate(bundle.manifest.heads):
        certificate = made.classes[head].certificate
        known = served.fires[:, k] & (evidence.truth[:, k] != UNKNOWN)
        counted = (int(known.sum()), int((known & (evidence.truth[:, k] == 0)).sum()))
        if counted != ((certificate.firings, certificate.errors) if certificate else (0, 0)):
            raise AssertionError(f"{head} was certified on other firings than it is served with: {counted}")


def _lacks_images(have: int, recipe: Recipe) -> str:
    need = recipe.data.min_images
    return f"{have} training images of the {need} that a head takes; label {need - have} more"


def _lacks_hope(tried: Candidates, knobs: Certification) -> str:
    if not len(tried.threshold):
        return "not attempted: no tuning image lets it fire; label more images of it"
    at = tried.start
    return (
        f"not attempted: on tuning images {tried.errors[at]} of {tried.firings[at]} answers are wrong at its best "
        f"threshold, too many to prove {knobs.target:g}; train on more images of it"
    )


def _lacks_proof(verdict: Verdict, knobs: Certification, delta: float) -> str:
    need = firings_needed(verdict.errors, knobs.target, delta)
    return (
        f"{verdict.firings} answers with {verdict.errors} wrong do not prove {knobs.target:g}, which with so many wrong "
        f"takes {need}; certify on more images, or train on more of it"
    )
