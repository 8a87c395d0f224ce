"""Seconds and memory of certification, microseconds of a decision, each in a process of its own.

Certification: scores of 100,000 tuning and 100,000 certification images of 1,000 classes, as arrays; common and rare classes
(Zipf), each image with a few scores that are not small. Decision: one image of 1,000 classes, over and over, and the
fastest of many rounds: others at work on the machine only add.

python -m tests.benchmarks.certify.speed [certify | decide]
"""

from __future__ import annotations

import datetime
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from model_store import bundle as bundles
from model_store import rules as rule_files
from model_store.bundle import Bundle
from model_store.decision import DecisionTable, decide
from model_store.labels import Label, LabelSchema
from model_store.rules import ClassRule
from tests import bundles as small
from training import recipe
from training.certify import certify
from training.score import Scores

IMAGES, CLASSES = 100_000, 1_000
MOST_SECONDS, MOST_GIB, MOST_MICROSECONDS = 20.0, 4.0, 50.0
REPEATS, CALLS = 2_000, 10
SEEDS = {"tune": 0, "certify": 1, "decide": 5}


def scores(images: int, classes: int, seed: int) -> Scores:
    """A model that is mostly right: the true class scores high, three neighbours score something, the rest nothing."""
    rng = np.random.default_rng(seed)
    share = 1 / (np.arange(classes) + 10.0)
    kind = rng.choice(classes, images, p=share / share.sum())
    probability = np.empty((images, classes), np.float32)
    truth = np.zeros((images, classes), np.int8)
    truth[np.arange(images), kind] = 1
    for at in range(0, images, 5_000):
        part = slice(at, min(at + 5_000, images))
        mine = kind[part]
        rows = np.arange(len(mine))
        logit = rng.standard_normal((len(mine), classes), np.float32) * np.float32(1.3) - np.float32(7.5)
        logit[rows, mine] += np.float32(10.5)
        for _ in range(3):
            near = (mine + rng.integers(1, 20, len(mine))) % classes
            logit[rows, near] += rng.normal(4.0, 1.5, len(mine)).astype(np.float32)
        probability[part] = 1 / (1 + np.exp(-logit))
    return Scores((), probability, np.ones(images, np.float32), truth, 0)


def bundle(classes: int, folder: Path) -> Bundle:
    """The tests' small bundle, its manifest rewritten for so many exclusive classes; only the manifest is read here."""
    made = small.make(folder)
    schema = LabelSchema(labels=tuple(Label(id=f"class-{k}", name=f"Class {k}") for k in range(classes)))
    manifest = made.manifest.model_copy(update={"labels": schema, "heads": schema.ids})
    return bundles.Bundle(made.folder, manifest, made.digest)


def certification() -> dict[str, object]:
    """Wall seconds of `certify` alone, and the highest resident memory of the process with both arrays in it."""
    with tempfile.TemporaryDirectory() as folder:
        opened = bundle(CLASSES, Path(folder))
        tune, evidence = (scores(IMAGES, CLASSES, SEEDS[part]) for part in ("tune", "certify"))
        now = datetime.datetime.now(datetime.UTC)
        started, worked = time.perf_counter(), time.process_time()
        made = certify(opened, recipe.sample(), {}, tune, evidence, now)
        seconds, processor = time.perf_counter() - started, time.process_time() - worked
    return {
        "images": IMAGES, "classes": CLASSES, "seconds": round(seconds, 2), "processor_seconds": round(processor, 2),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "automatic": sum(rule.state == "automatic" for rule in made.classes.values()),
    }  # fmt: skip


def decision() -> dict[str, object]:
    """Microseconds of `decide` for one image of 1,000 classes: exclusive, and independent with absence certified."""
    found: dict[str, object] = {"classes": CLASSES}
    with tempfile.TemporaryDirectory() as folder:
        opened = bundle(CLASSES, Path(folder))
        answers = ClassRule(state="automatic", threshold=0.9, veto=0.3, certificate=small.certificate())
        each = ClassRule(
            state="automatic",
            threshold=0.9,
            absent_below=0.05,
            certificate=small.certificate(),
            absence=small.absence(),
        )
        for kind, rule in (("exclusive", answers), ("independent", each)):
            schema = opened.manifest.labels
            groups = tuple(group.model_copy(update={"kind": kind}) for group in schema.groups)
            manifest = opened.manifest.model_copy(update={"labels": schema.model_copy(update={"groups": groups})})
            rules = small.sealed(
                rule_files.assist_rules(opened.digest, manifest, "cpu", "default"),
                classes=dict.fromkeys(manifest.heads, rule),
            )
            table = DecisionTable.build(rules, manifest)
            image = scores(1, CLASSES, SEEDS["decide"])
            taken = []
            for _ in range(REPEATS):
                started = time.perf_counter()
                for _ in range(CALLS):
                    decide(table, image.probability, image.typicality)
                taken.append((time.perf_counter() - started) / CALLS * 1e6)
            found[f"{kind}_microseconds"] = round(min(taken), 1)
    return found


def run() -> dict[str, object]:
    """Both, each in a process of its own. Prints one JSON line."""
    found: dict[str, object] = {"measure": "speed", "seeds": SEEDS}
    for what in ("certify", "decide"):
        finished = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.certify.speed", what], stdout=subprocess.PIPE, check=True
        )
        found[what] = json.loads(finished.stdout.decode().strip().splitlines()[-1])
    print(json.dumps(found))
    return found


def rows(found: dict[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Lines of the table: measure, found, must reach, reached."""
    done, one = found["certify"], found["decide"]
    yield (
        f"certify {done['images']:,} images x {done['classes']:,} classes ({done['automatic']} automatic)",
        f"{done['seconds']:.1f} s (processor {done['processor_seconds']:.1f} s), {done['peak_gib']:.2f} GiB",
        f"<= {MOST_SECONDS:g} s, {MOST_GIB:g} GiB",
        done["seconds"] <= MOST_SECONDS and done["peak_gib"] <= MOST_GIB,
    )  # fmt: skip
    for kind in ("exclusive", "independent"):
        taken = one[f"{kind}_microseconds"]
        yield (
            f"decide one image of {one['classes']:,} {kind} classes", f"{taken:.1f} µs",
            f"<= {MOST_MICROSECONDS:g} µs", taken <= MOST_MICROSECONDS,
        )  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(certification() if sys.argv[1] == "certify" else decision()))
    else:
        run()
