"""Certification from what nothing can be concluded from: one clear sentence each, and never a certificate."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_store.bundle import Bundle
from model_store.errors import DocumentError, ModelStoreError
from tests import bundles
from tests.training.populations import NOW, population, recipe_for
from training import recipe
from training.certify import certify
from training.errors import DataError
from training.images import from_bytes
from training.recipe import Certification
from training.score import Scores


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.make(tmp_path_factory.mktemp("data"))


def with_score(value: float) -> Callable[[Scores], Scores]:
    def change(scores: Scores) -> Scores:
        probability = scores.probability.copy()
        probability[7, 1] = value
        return replace(scores, probability=probability)

    return change


def of_images(case: str, name: str) -> Callable[[Scores], Scores]:
    def change(scores: Scores) -> Scores:
        images = [from_bytes(f"{name}{row}".encode(), f"{case}{row}", ()) for row in range(len(scores))]
        return replace(scores, images=tuple(images))

    return change


def same(scores: Scores) -> Scores:
    return scores


def first(rows: int) -> Callable[[Scores], Scores]:
    return lambda scores: replace(
        scores, probability=scores.probability[:rows], typicality=scores.typicality[:rows], truth=scores.truth[:rows]
    )


def unheard(scores: Scores) -> Scores:
    return replace(scores, typicality=np.where(np.arange(len(scores)) == 3, np.nan, 1).astype(np.float32))


@pytest.mark.parametrize(
    ("tune", "evidence", "says"),
    [
        (same, with_score(np.nan), "the split certify has a score that is no probability (NaN, or outside 0 to 1)"),
        (with_score(np.nan), same, "the split tune has a score that is no probability"),
        (same, with_score(1.5), "the split certify has a score that is no probability"),
        (same, with_score(-0.1), "the split certify has a score that is no probability"),
        (same, unheard, "the split certify has a score that is no probability"),
        (same, first(0), "the split certify has no image that the model can score; add images"),
        (first(0), same, "the split tune has no image that the model can score; add images"),
        (same, lambda scores: replace(scores, probability=scores.probability[:, :2]), "has scores of 2 heads"),
        (of_images("a", "x"), of_images("b", "x"), "is in tune and in certify"),
        (of_images("a", "x"), of_images("a", "y"), "the case 'a0' is in tune and in certify"),
    ],
)
def test_each_is_refused_in_one_sentence(
    bundle: Bundle, tune: Callable[[Scores], Scores], evidence: Callable[[Scores], Scores], says: str
) -> None:
    with pytest.raises(DataError) as caught:
        certify(bundle, recipe_for(), {}, tune(population(300, 0)), evidence(population(400, 1)), NOW)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_target_of_an_unknown_label_is_refused(bundle: Bundle) -> None:
    knobs = Certification(targets={"rde": 0.99})
    with pytest.raises(
        DocumentError,
        match=r"recipe .*: certification\.targets\.rde: 'rde' is no label of colours/1; mend .*--recipe FILE",
    ):
        certify(bundle, recipe_for(knobs), {}, population(300, 0), population(400, 1), NOW)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("target = 1.0", "certification.target = 1.0: input should be less than 1"),
        ("delta = 0", "certification.delta = 0: input should be greater than 0"),
        ("targets = { boot = 1.0 }", "certification.targets.boot = 1.0: input should be less than 1"),
        ("absence_delta = 0.1", "absence_delta = 0.1 leaves nothing of delta = 0.1 for answers; lower it"),
        ("valid_days = 0", "certification.valid_days = 0: input should be greater than or equal to 1"),
        ("sampling = 2", "certification.sampling = 2: input should be less than or equal to 1"),
    ],
)  # fmt: skip
def test_a_promise_that_cannot_be_is_one_line(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(f'name = "x"\n[image]\nheight = 28\nwidth = 28\n[certification]\n{line}\n')
    with pytest.raises(ModelStoreError) as caught:
        recipe.read(file)
    assert says in str(caught.value)


def test_a_class_without_positives_is_never_automatic(bundle: Bundle) -> None:
    """Nothing says that it is right where it fires, on tuning images or only on the evidence."""

    def no_red(scores: Scores) -> Scores:
        truth = scores.truth.copy()
        truth[:, 0] = 0
        return replace(scores, truth=truth)

    tune, evidence = population(2000, 0, skill=1.2), population(4000, 1, skill=1.2)
    for one, other in ((no_red(tune), no_red(evidence)), (tune, no_red(evidence))):
        made = certify(bundle, recipe_for(), {}, one, other, NOW)
        assert made.classes["red"].state == "assist"
        assert made.classes["red"].lacks
        assert made.classes["green"].state == "automatic"


def test_a_class_may_have_a_target_of_its_own(bundle: Bundle) -> None:
    tune, evidence = population(3000, 0, skill=1.5), population(6000, 1, skill=1.5)
    knobs = Certification(targets={"red": 0.99, "other": 0.99}, vetoes=(0.1, 0.5), valid_days=30)
    made = certify(bundle, recipe_for(knobs), {}, tune, evidence, NOW)
    proofs = {label: rule.certificate for label, rule in made.classes.items() if rule.certificate}
    assert proofs["red"].target == 0.99
    assert proofs["red"].bound >= 0.99
    assert proofs["green"].target == 0.95
    assert made.valid_until == NOW + datetime.timedelta(days=30)


def test_the_floor_is_what_the_gate_rejects_and_what_is_below_never_fires(bundle: Bundle) -> None:
    from model_store.manifest import Gate

    gate = Gate(kind="mahalanobis_all_stages", prototypes=5, images=100, reject=0.05, validated=True)
    gated = replace(bundle, manifest=bundle.manifest.model_copy(update={"gate": gate}))
    evidence = population(4000, 1)
    evidence = replace(evidence, typicality=np.where(np.arange(4000) % 2 == 0, 0.04, 0.9).astype(np.float32))
    made = certify(gated, recipe_for(), {}, population(2000, 0), evidence, NOW)
    assert made.typicality_floor == 0.05
    free = certify(bundle, recipe_for(), {}, population(2000, 0), evidence, NOW)
    assert free.typicality_floor == 0.0
    gated_proof, free_proof = made.classes["red"].certificate, free.classes["red"].certificate
    assert gated_proof is not None
    assert free_proof is not None
    assert gated_proof.firings < 0.6 * free_proof.firings
