"""Certifying a class on what people read in operation: `secondreader certify BUNDLE --from-log FOLDER`.

Of a class with a sampling plan (sampling.py) every image on which it would fire from a lenient threshold on was read blind with
the same probability. Those readings are a uniform sample of its firings there, and the ones that reach a stricter threshold are
a uniform sample of its firings at that: so the same candidates, from the same tuning images, are tested in the same fixed
sequence on them. Nothing else in the rules changes; vetoes, floor and conditions stay, so that every older certificate holds.

This is an act of its own with a delta of its own, shared among the classes that have a chance; what all certificates of the
new rules promise together is the sum (`risk`). The ledger keeps an image that has certified from certifying again, so that
trying until it passes is not possible.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_store import keys, rules, signing
from model_store.bundle import Bundle
from model_store.decision import DecisionTable, would_fire
from model_store.errors import DocumentError
from model_store.rules import Certificate, ClassRule, Rules, rule_hash
from training import data, lacks, ledger, report, tuning
from training.binomial import lower_bound
from training.certify import sequence
from training.data import DataSet
from training.errors import DataError
from training.images import UNKNOWN, LabelledImage, fingerprint
from training.points import above, free
from training.readings import Reading, read, readings
from training.recipe import Certification, Recipe
from training.score import Scores, score
from training.splits import one_per_case


@dataclass(frozen=True)
class Evidence:
    """One class's readings, one a case: `scores` has the truth of this class alone."""

    scores: Scores
    waiting: int


def run(
    bundle: Bundle,
    recipe: Recipe,
    out: Path,
    log: Path,
    digest: str,
    since: datetime.datetime | None = None,
    key: Path | None = None,
    dataset: DataSet | None = None,
) -> Rules:
    """Reads the log, certifies, writes the new rules, their signature and a report beside the bundle.

    digest: the rules under which the images were drawn. since: a time in UTC, whatever its zone says.
    Raises a ModelStoreError for everything its caller can mend.
    """
    signer = keys.signing_key(out, key)
    old = rules.find(out, digest)
    old.check_fits(bundle.digest, bundle.manifest)
    now = datetime.datetime.now(datetime.UTC)
    gathering = sampled(old)
    drawn, verdicts = read(log, old.digest, int(since.replace(tzinfo=datetime.UTC).timestamp() * 1e6) if since else 0)
    found = {}
    for label in gathering:
        seen, waiting = readings(drawn, verdicts, label, int(now.timestamp() * 1e6))
        found[label] = Evidence(_scores(bundle, old, label, seen, recipe.seed), waiting)
    used = {image.name: image for each in found.values() for image in each.scores.images}
    use = {**ledger.of_bundle(bundle, recipe), "rules": old.digest}
    ledger.check(out, "certify", list(used.values()), use)
    dataset = dataset or data.load(recipe, out, bundle)
    dataset.require("tune")
    tune = score(bundle, dataset.parts["tune"], old.provider, "tuning")
    made = certify(bundle, recipe.certification, old, tune, found, now)
    ledger.record(out, "certify", list(used.values()), use)
    signing.write(rules.write(out, made), signing.sign(made, signer))
    report.write(
        bundle,
        f"certificate-{made.digest.removeprefix('sha256:')[:12]}",
        {
            "digest": made.digest,
            "from_log": {label: {"reads": len(each.scores), "waiting": each.waiting} for label, each in found.items()},
            "risk": risk(made),
            "rules": made.model_dump(mode="json"),
        },
    )
    return made


def sampled(old: Rules) -> list[str]:
    """Labels with a sampling plan. Raises DocumentError without any."""
    found = [label for label, rule in old.classes.items() if rule.sampling]
    if not found:
        raise DocumentError(
            f"rules {old.digest[:19]} have no class that gathers evidence; name those under which it was gathered (--rules)"
        )
    return found


def certify(
    bundle: Bundle,
    knobs: Certification,
    old: Rules,
    tune: Scores,
    found: Mapping[str, Evidence],
    now: datetime.datetime,
) -> Rules:
    """The old rules, and a certificate for every class whose readings support one. Pure."""
    heads = bundle.manifest.heads
    table = DecisionTable.build(old, bundle.manifest)
    target = np.array([knobs.target_of(head) for head in heads])
    reads = np.array([len(found[head].scores) if head in found else 0 for head in heads])
    plan = tuning.among_firings(table, tune, reads, target, knobs)
    classes = dict(old.classes)
    for k in np.flatnonzero(reads).tolist():
        label, evidence, tried = heads[k], found[heads[k]].scores, plan.candidates[k]
        rule, level = old.classes[label], plan.level
        assert rule.sampling is not None
        missing = "not attempted: too few readings, or too many wrong on tuning images"
        if plan.attempted[k]:
            lowest = np.where(np.arange(len(heads)) == k, np.float32(rule.sampling.threshold), np.float32(np.inf))
            points = above(table, evidence, lowest)
            points = points.only(free(table, evidence, points))
            thresholds = tried.threshold[tried.start :]
            verdict = sequence(thresholds, *points.counts(k, thresholds), float(target[k]), level)
            if verdict.threshold is not None:
                threshold = float(verdict.threshold)
                certificate = Certificate(
                    target=float(target[k]),
                    delta=plan.delta,
                    attempted=plan.shared_by,
                    firings=verdict.firings,
                    errors=verdict.errors,
                    bound=lower_bound(verdict.firings, verdict.errors, level),
                    images=len(evidence),
                    drawn="firings",
                    sites=old.sites,
                    provider=old.provider,
                    precision=old.precision,
                    rule=rule_hash(old.ground, "fires", label, threshold),
                    data_fingerprint=fingerprint(evidence.images),
                    certified_at=now,
                    valid_until=now + datetime.timedelta(days=knobs.valid_days),
                )
                classes[label] = ClassRule(
                    state="automatic",
                    threshold=threshold,
                    veto=rule.veto,
                    absent_below=rule.absent_below,
                    certificate=certificate,
                    absence=rule.absence,
                )
                continue
            missing = lacks.presence(tried, verdict, float(target[k]), level)
        classes[label] = rule.model_copy(update={"lacks": f"after {len(evidence)} blind readings: {missing}"})
    made = Rules(**{**{name: getattr(old, name) for name in Rules.model_fields}, "classes": classes})
    made.check_fits(bundle.digest, bundle.manifest)
    return made


def risk(made: Rules) -> float:
    """At most so probable is it that any certificate of these rules claims too much, over all acts that made them."""
    claims = (claim for rule in made.classes.values() for claim in (rule.certificate, rule.absence) if claim)
    return sum(claim.level for claim in claims)


def _scores(bundle: Bundle, old: Rules, label: str, seen: Sequence[Reading], seed: int) -> Scores:
    """One reading a case, as scores. Raises DataError when the log was not written under these rules."""
    heads = bundle.manifest.heads
    k = heads.index(label)
    for each in seen:
        record = each.record
        here = (record.bundle, record.provider, record.precision, record.project, record.heads)
        if here != (old.bundle, old.provider, old.precision, old.project, heads) or record.site not in old.sites:
            raise DataError(
                f"the prediction {record.id} in the log was made elsewhere or otherwise than the rules {old.digest[:19]} are "
                "for (bundle, provider, precision, project or site); export the log of the service that ran them"
            )
    images = [
        LabelledImage(
            each.record.sha256,
            f"{each.record.site}/{each.record.case or each.record.id}",
            frozenset({label} if each.right else ()),
            frozenset(),
            b"",
        )
        for each in seen
    ]
    place = {id(image): index for index, image in enumerate(images)}
    kept = one_per_case(images, seed)
    rows = [place[id(image)] for image in kept]
    truth = np.full((len(rows), len(heads)), UNKNOWN, np.int8)
    truth[:, k] = [seen[row].right for row in rows]
    scores = Scores(
        tuple(kept),
        np.array([seen[row].record.probabilities() for row in rows], np.float32).reshape(len(rows), len(heads)),
        np.array([seen[row].record.typicality for row in rows], np.float32),
        truth,
        0,
    )
    table = DecisionTable.build(old, bundle.manifest)
    strange = np.flatnonzero(~would_fire(table, scores.probability, scores.typicality)[:, k])
    if len(strange):
        raise DataError(
            f"{label} would not fire on the prediction {seen[rows[int(strange[0])]].record.id}, which was drawn for it; the "
            "log or the rules were changed"
        )
    return scores
