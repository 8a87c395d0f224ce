"""Certified absence: a label that may be called absent, and groups that answer only when every label is decided."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model_store import decision
from model_store.bundle import Bundle
from model_store.decision import DecisionTable
from model_store.labels import Group, Label, LabelSchema
from model_store.rules import Rules
from tests import bundles
from tests.training.populations import NOW
from training import recipe, sequence, train
from training.binomial import lower_bound
from training.certify import certify, run
from training.data import load
from training.recipe import Certification, Recipe, read
from training.score import Scores, score

RECIPE = """
name = "marks"
seed = 3
[image]
height = 16
width = 16
[data]
source = "marks.csv"
min_images = 20
shares = { train = 0.3, tune = 0.25, certify = 0.3, test = 0.15 }
[[data.groups]]
id = "findings"
kind = "independent"
decided_by = "each_decided"
[[data.labels]]
id = "left"
name = "mark on the left"
group = "findings"
[[data.labels]]
id = "right"
name = "mark on the right"
group = "findings"
[model]
backbone = "test_resnet"
[training]
epochs = 8
batch_size = 16
learning_rate = 0.01
shift = 0.0
flip = false
threads = 1
[typicality]
prototypes = 8
[certification]
target = 0.85
absence_target = 0.1
delta = 0.2
[export]
golden = 4
"""


def marks(root: Path, images: int) -> Recipe:
    """Noise with a red mark on the left half, a green one on the right, both, or neither."""
    rng = np.random.default_rng(0)
    lines = ["path,label"]
    for index in range(images):
        pixels = rng.normal(90, 25, (16, 16, 3))
        shown = [label for label, there in zip(("left", "right"), rng.random(2) < 0.45, strict=True) if there]
        if "left" in shown:
            pixels[3:13, 1:7, 0] += 110
        if "right" in shown:
            pixels[3:13, 9:15, 1] += 110
        stream = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "PNG")
        (root / f"{index}.png").write_bytes(stream.getvalue())
        lines.append(f"{index}.png,{';'.join(shown)}")
    (root / "marks.csv").write_text("\n".join(lines) + "\n")
    (root / "marks.toml").write_text(RECIPE)
    return read(root / "marks.toml")


def test_a_group_that_waits_for_each_label_answers_from_training_to_decision(tmp_path: Path) -> None:
    chosen = marks(tmp_path, 900)
    trained = train.run(chosen, tmp_path / "data")
    made = run(trained.bundle, chosen, tmp_path / "data")
    manifest = trained.bundle.manifest
    for label in ("left", "right"):
        rule = made.classes[label]
        assert rule.state == "automatic", rule.lacks
        assert rule.absence is not None, rule.lacks
        assert rule.absence.bound <= 0.1
        assert rule.absence.attempted == 4, "two labels, each with a claim of presence and one of absence, share delta"
        assert 0.3 < rule.absence.prevalence < 0.6

    seen = score(trained.bundle, load(chosen, None).parts["test"], "cpu", "testing")
    table = DecisionTable.build(made, manifest)
    decided = decision.decide(table, seen.probability, seen.typicality)
    answered = decided.answerable
    assert answered.mean() > 0.5
    neither = answered & decided.absent.all(axis=1)
    assert neither.any(), "images that show nothing are answered too"
    right = (decided.fires == (seen.truth == 1)).all(axis=1)
    assert right[answered].mean() > 0.85
    silent = decision.decide(table.without(frozenset({"left"})), seen.probability, seen.typicality)
    assert not silent.answerable.any(), (
        "a suspended label is neither present nor absent, so the group waits for a person"
    )


def population(n: int, seed: int, skill: float = 1.0, prevalence: float = 0.2) -> Scores:
    """Two independent findings and images that show none, one or both."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((n, 2)) < prevalence).astype(np.int8)
    logit = rng.normal(-3.0, 1.2, (n, 2)) + truth * skill * rng.normal(6.0, 1.5, (n, 2))
    return Scores((), (1 / (1 + np.exp(-logit))).astype(np.float32), np.ones(n, np.float32), truth, 0)


def findings(bundle: Bundle, labels: tuple[str, ...] = ("device", "effusion"), **group: Any) -> Bundle:
    """The tests' bundle with other labels: the graph is never run here."""
    groups = (Group(id="main", **{"kind": "independent", "decided_by": "each_decided", **group}),)
    schema = LabelSchema(labels=tuple(Label(id=label, name=label) for label in labels), groups=groups)
    manifest = bundle.manifest.model_copy(update={"labels": schema, "heads": ("device", "effusion")})
    return cast("Bundle", SimpleNamespace(manifest=manifest, digest=bundle.digest))


def _recipe(**knobs: Any) -> Recipe:
    return dataclasses.replace(recipe.sample(), certification=Certification(**knobs))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.make(tmp_path_factory.mktemp("data"))


def _certified(bundle: Bundle, tune: int = 1500, evidence: int = 3000, seed: int = 0, **knobs: Any) -> Rules:
    return certify(
        findings(bundle), _recipe(**knobs), {}, population(tune, 2 * seed), population(evidence, 2 * seed + 1), NOW
    )


def test_the_promise_of_absence_holds_over_many_certifications(bundle: Bundle) -> None:
    """In at most delta of all certifications does any certified absence overlook more than its target in the population."""
    world = population(100_000, 999)
    broken = certified = 0
    runs = 100
    for seed in range(runs):
        made = _certified(bundle, 600, 1200, seed)
        for k, label in enumerate(("device", "effusion")):
            rule = made.classes[label]
            certified += rule.absence is not None
            shown = world.probability[world.truth[:, k] == 1, k]
            if rule.absent_below is not None and (shown < np.float32(rule.absent_below)).mean() > 0.05:
                broken += 1
                break
    assert certified > runs  # the promise is easy to keep by certifying nothing
    assert broken / runs <= 0.1


def test_delta_is_shared_by_all_claims_or_split_as_the_recipe_says(bundle: Bundle) -> None:
    asked: tuple[dict[str, Any], ...] = ({}, {"absence_delta": 0.04})
    for knobs, levels in zip(asked, ((0.1 / 4, 0.1 / 4), (0.06 / 2, 0.04 / 2)), strict=True):
        made = _certified(bundle, **knobs)
        rule = made.classes["device"]
        assert rule.certificate is not None
        assert rule.absence is not None
        assert (rule.certificate.level, rule.absence.level) == pytest.approx(levels)
        claims = [c for each in made.classes.values() for c in (each.certificate, each.absence) if c]
        assert sum(claim.level for claim in claims) == pytest.approx(0.1)


def test_certificates_of_absence_say_what_the_served_rules_do(bundle: Bundle) -> None:
    evidence = population(3000, 1)
    evidence = replace(evidence, typicality=np.where(np.arange(3000) % 10 == 0, 0.0, 1.0).astype(np.float32))
    gated = findings(bundle)
    made = certify(gated, _recipe(), {}, population(1500, 0), evidence, NOW)
    served = decision.decide(DecisionTable.build(made, gated.manifest), evidence.probability, evidence.typicality)
    for k, label in enumerate(gated.manifest.heads):
        found = made.classes[label].absence
        assert found is not None
        shown, absent = evidence.truth[:, k] == 1, served.absent[:, k]
        assert (found.positives, found.missed) == (shown.sum(), (shown & absent).sum())
        assert found.bound == 1 - lower_bound(found.positives, found.missed, found.level)
        assert found.npv == pytest.approx((~shown[absent]).mean())
        assert found.absent_share == pytest.approx(absent.mean())
        assert found.prevalence == pytest.approx(shown.mean())
    assert served.answerable.mean() > 0.5


@pytest.mark.parametrize(
    ("group", "labels"),
    [({"decided_by": "any_present"}, ("device", "effusion")), ({"kind": "exclusive"}, ("device", "effusion")),
     ({}, ("device", "effusion", "rare"))],
    ids=["any_present", "exclusive", "a label without a head"],
)  # fmt: skip
def test_absence_that_can_decide_nothing_is_not_attempted_and_costs_nothing(
    bundle: Bundle, group: dict[str, Any], labels: tuple[str, ...]
) -> None:
    made = certify(findings(bundle, labels, **group), _recipe(), {}, population(1500, 0), population(3000, 1), NOW)
    assert all(rule.absence is None for rule in made.classes.values())
    certificates = [rule.certificate for rule in made.classes.values() if rule.certificate]
    assert certificates
    assert {each.attempted for each in certificates} == {2}


def test_too_few_positives_certify_no_absence_and_say_how_many_it_takes(bundle: Bundle) -> None:
    """At .1 / 2 claims of presence, 59 images that show it would have to be free of mistakes; about 20 certify."""
    tune, evidence = population(1000, 0, prevalence=0.02), population(1000, 1, prevalence=0.02)
    made = certify(findings(bundle), _recipe(), {}, tune, evidence, NOW)
    for rule in made.classes.values():
        assert rule.absence is None
        assert "absence not attempted: " in rule.lacks
        assert "images that show it are needed" in rule.lacks


def test_failed_absence_says_how_many_more_positives_would_do(bundle: Bundle) -> None:
    """Good on tuning images, bad on the evidence: the first test fails, and its sentence is exact."""
    made = certify(findings(bundle), _recipe(), {}, population(3000, 0), population(600, 1, skill=0.1), NOW)
    rule = made.classes["device"]
    assert rule.absence is None
    assert "more images that show it: " in rule.lacks


@given(st.lists(st.floats(0, 1, width=32), max_size=60), st.integers(0, 40), st.integers(1, 20))
def test_the_sequence_ends_at_the_last_threshold_before_the_first_failure(
    scores: list[float], atypical: int, steps: int
) -> None:
    shown = np.array(scores, np.float32)
    thresholds = np.linspace(0, 1, steps + 1, dtype=np.float32)[1:]
    found = sequence.absence(thresholds, shown, len(shown) + atypical, 0.2, 0.1)
    total = len(shown) + atypical
    passes = [1 - lower_bound(total, int((shown < t).sum()), 0.1) <= 0.2 if total else False for t in thresholds]
    good = passes.index(False) if False in passes else len(passes)
    assert found.below == (thresholds[good - 1] if good else None)
