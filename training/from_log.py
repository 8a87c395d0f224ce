"""Certifying a class on what people read in operation: `secondreader certify BUNDLE --from-log FOLDER`.

Of a class with a sampling plan (sampling.py) every image on which it would fire from a lenient threshold on was read blind with
the same probability. Those readings are a uniform sample of its firings there, and the ones that reach a stricter threshold are
a uniform sample of its firings at that: so the same candidates, from the same tuning images, are tested in the same fixed
sequence on them. Nothing else in the rules changes; vetoes, floor and conditions stay, so that every older certificate holds.

1. A class is tested on as many readings as its signed plan says, the first in order, one a case, when all are settled: not
   before, not later, not on others (taken.py). Rules made from one another draw alike; what any of them drew counts.
2. This is an attempt of the bundle like any certification: number k has `delta / 2**k`, shared among the classes that have a
   plan and a chance, whether they are tested now or not.
3. What certified before, or taught, is passed over before anything is counted. Rules certify on readings once; who goes on,
   goes on from the rules that came of it.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_store import keys, rules
from model_store.bundle import Bundle
from model_store.errors import DocumentError
from model_store.rules import Rules
from training import data, ledger
from training.certify import halved
from training.data import DataSet
from training.errors import DataError
from training.firings import certify, plan
from training.gathered import Looks, evidence, here, kin
from training.images import fingerprint
from training.issuing import issue
from training.readings import read, readings
from training.recipe import Recipe
from training.score import score
from training.taken import Taken, image, take


@dataclass(frozen=True)
class Made:
    """The new rules, and what people should know of how they came."""

    rules: Rules
    told: tuple[str, ...]


def run(
    bundle: Bundle,
    recipe: Recipe,
    out: Path,
    log: Path,
    digest: str,
    key: Path | None = None,
    dataset: DataSet | None = None,
    blobs: Path | None = None,
) -> Made:
    """Reads the log, certifies, writes the new rules, their signature and a report beside the bundle.

    digest: the rules that are in force. blobs: the folder of the service's images, `<data>/blobs` without; where it is there,
    images that look like one that was used before are passed over too.
    Raises a ModelStoreError for everything its caller can mend.
    """
    signer = keys.signing_key(out, key)
    old = rules.find(out, digest)
    old.check_fits(bundle.digest, bundle.manifest)
    before = ledger.readings_of(out, old.digest)
    gathering = sampled(old)
    if before:
        gathering = {label: gathering[label] for label in before.of["labels"].split(",")}
    dataset = dataset or data.load(recipe, out, bundle)
    dataset.require("tune")
    tuned = dataset.parts["tune"]
    if before:  # done again: whatever came since, it is on these readings and these tuning images
        names = ledger.tuned(out, before.of)
        tuned = [each for each in tuned if each.name in names]
    tune = score(bundle, tuned, old.provider, "tuning")
    attempt = ledger.attempt(out, before) if before else ledger.attempts(out, bundle.digest)
    planned = plan(bundle, halved(recipe.certification, attempt), old, tune)

    looks = Looks(blobs or out / "blobs", recipe)
    family = {label: kin(out, old, label) for label in gathering}
    seen = read(log, {each for found in family.values() for each in found}, old.sites)
    drawn, passed_over = here(seen, old, bundle)
    use = {**ledger.of_bundle(bundle, recipe), "rules": old.digest}
    now = int(datetime.datetime.now(datetime.UTC).timestamp() * 1e6)
    taken: dict[str, Taken] = {}
    for label, reads in gathering.items():
        mine = [each for each in drawn if each.rules in family[label] and (not before or each.sha256 in before.names)]
        found = readings(mine, seen.verdicts, label, now)
        images = [image(each, label, bundle.manifest.heads, looks.of(each.record)) for each in found]
        spent = ledger.unusable(out, images, use, looks.radius, old.digest)
        taken[label] = take(found, reads, spent)
        passed_over["used before"] += sum(each.name in spent for each in images)
    ready = {label: each for label, each in taken.items() if not each.missing}
    tested = [label for label in ready if planned.attempted[bundle.manifest.heads.index(label)]]
    if not tested:
        raise DataError(_not_yet(taken, ready))

    proof = {label: evidence(bundle, old, label, ready[label], seen, family[label], looks) for label in tested}
    used = [each for label in tested for each in proof[label].scores.images]
    use |= {"labels": ",".join(tested), "tune": fingerprint(tuned), "evidence": fingerprint(used)}
    ledger.record(out, "tune", tuned, use, recipe.data.near_duplicates)
    act = ledger.record(out, "certify", used, use, looks.radius)
    attempt = ledger.attempt(out, act)
    made = certify(bundle, recipe.certification, old, tune, proof, act.when, attempt)
    told = _told(taken, tested, passed_over, looks)
    states = {
        label: {"reads": each.reads, "settled": each.settled, "tested": label in tested}
        for label, each in taken.items()
    }
    issue(bundle, made, out, signer, attempt, from_log=states, passed_over=dict(passed_over), told=list(told))
    return Made(made, told)


def sampled(old: Rules) -> dict[str, int]:
    """Labels with a sampling plan, and on how many readings each is tested.

    Raises DocumentError without any, and for a plan that does not say.
    """
    plans = {label: rule.sampling for label, rule in old.classes.items() if rule.sampling}
    if not plans:
        raise DocumentError(
            f"rules {old.digest[:19]} have no class that gathers evidence; name those under which it was gathered (--rules)"
        )
    found = {}
    for label, drawn in plans.items():
        if drawn.reads is None:
            raise DocumentError(
                f"rules {old.digest[:19]} do not fix on how many readings {label} is tested; certify the bundle again, and "
                "gather by the rules that come of it"
            )
        found[label] = drawn.reads
    return found


def _not_yet(taken: Mapping[str, Taken], ready: Mapping[str, Taken]) -> str:
    if ready:
        label = min(ready)
        return (
            f"{label} has its {ready[label].reads:,} readings, and on tuning images too little chance to pass with them; train "
            "on more images of it"
        )
    label, least = min(taken.items(), key=lambda item: (item[1].missing, item[0]))
    waits = len(least.readings) - least.settled
    return (
        f"{label} has {least.settled:,} of the {least.reads:,} settled readings that its plan asks for ({waits:,} wait for "
        f"readers); export the log again when {least.missing:,} more are in"
    )


def _told(
    taken: Mapping[str, Taken], tested: Sequence[str], passed_over: Mapping[str, int], looks: Looks
) -> tuple[str, ...]:
    waiting = [
        f"{label}: {each.settled:,} of {each.reads:,} readings are settled; it goes on gathering"
        for label, each in taken.items()
        if label not in tested and each.missing
    ]
    over = [f"{count:,} drawn images were passed over: {why}" for why, count in passed_over.items() if count]
    return tuple(filter(None, (*waiting, *over, looks.told())))
