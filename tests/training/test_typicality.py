"""Typicality is a share of normal tuning images, the same in the exported graph, and honest about what it does not stop."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy.stats import binom

from model_store import bundle as bundles
from model_store.engine import Engine
from model_store.manifest import Gate as Described
from model_store.manifest import GateCheck, ImageSpec
from model_store.prediction import Prediction
from secondreader import main
from tests.training.conftest import Trained
from training import data, export, gate_checks, model, tensors, train, typicality, unlike
from training.calibrate import Platt
from training.errors import DataError, ExportError
from training.images import from_bytes
from training.recipe import Typicality, from_dict
from training.typicality import Gate

WIDE = 6


def _gate(tuning: np.ndarray, seed: int = 0) -> Gate:
    """A gate over three clusters in the plane of a six-dimensional space."""
    rng = np.random.default_rng(seed)
    return Gate(np.zeros(WIDE), np.eye(WIDE), rng.normal(size=(3, WIDE)), np.array([0, 1, 2])).rank_among(tuning)


def _cloud(count: int, seed: int = 1, spread: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, (count, WIDE)).astype(np.float32)


def test_typicality_is_the_share_of_tuning_images_that_are_less_typical() -> None:
    tuning = _cloud(400)
    gate = _gate(tuning)
    scores, shares = gate.scores(tuning), gate.shares(tuning)
    less = (scores[None, :] < scores[:, None]).mean(axis=1)
    assert np.abs(shares - less).max() < 1e-6


def test_a_long_tuning_set_is_kept_to_one_step_in_a_thousand() -> None:
    tuning = _cloud(7_000)
    gate = _gate(tuning)
    scores = gate.scores(tuning)
    exact = np.argsort(np.argsort(scores)) / len(scores)
    assert len(gate.grid) == typicality.STEPS
    assert np.abs(gate.shares(tuning) - exact).max() <= 2 / typicality.STEPS


@given(st.integers(2, 300), st.integers(0, 1000))
def test_a_floor_costs_that_share_of_normal_images(count: int, seed: int) -> None:
    """Of images like the tuning images, the share below .05 is one that so many tuning images make likely."""
    gate = _gate(_cloud(count, seed))
    share = float((gate.shares(_cloud(4_000, seed + 1)) < np.float32(0.05)).mean())
    below = 0.05 * count
    assert binom.cdf(math.ceil(below) + 1, count, share) > 1e-9
    assert binom.sf(math.floor(below) - 2, count, share) > 1e-9


@given(hnp.arrays(np.float32, (20, WIDE), elements=st.floats(-1e3, 1e3, width=32)))
def test_it_is_a_share_and_rises_with_the_score(features: np.ndarray) -> None:
    gate = _gate(_cloud(100))
    scores, shares = gate.scores(features), gate.shares(features)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert shares.dtype == np.float32
    assert (np.diff(shares[np.argsort(scores, kind="stable")]) >= 0).all()


@given(
    hnp.arrays(np.float32, (4, WIDE), elements=st.floats(-10, 10, width=32)),
    st.sampled_from([np.nan, np.inf, -np.inf, 3e38]),
    st.integers(0, WIDE - 1),
)
def test_garbage_is_atypical_and_touches_nobody_else(features: np.ndarray, garbage: float, where: int) -> None:
    gate = _gate(_cloud(100))
    before = gate.shares(features)
    features[2, where] = garbage
    after = gate.shares(features)
    assert after[2] == 0
    assert (after[[0, 1, 3]] == before[[0, 1, 3]]).all()


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40))
def test_the_last_digit_of_a_score_decides_nothing(scores: list[int]) -> None:
    """Points of the distribution stand between scores, ties or not; so a rounding error moves no image."""
    given_scores = np.array(scores, np.float32)
    grid = typicality._between(given_scores).numpy()
    less = (given_scores[None, :] < given_scores[:, None]).sum(axis=1)
    for nudge in (-1e-3, 0, 1e-3):
        assert ((grid[None, :] < given_scores[:, None] + nudge).sum(axis=1) == less).all()


def test_kinds_are_combinations_and_the_rare_ones_are_one_kind() -> None:
    truth = np.array([[1, 0]] * 20 + [[0, 0]] * 12 + [[1, 1]] * 3 + [[0, -1]] * 4, np.int8)
    common = typicality.combinations(truth)
    found = typicality.kinds(truth, common)
    assert [len(set(found[rows].tolist())) for rows in (slice(0, 20), slice(20, 32), slice(32, 35))] == [1, 1, 1]
    assert len(set(found.tolist())) == 3
    assert set(found[32:35].tolist()) == {-1}
    assert set(found[35:].tolist()) == set(found[20:32].tolist())  # unknown is not present


def test_normal_images_have_no_label_that_lacks_a_head() -> None:
    images = [from_bytes(b"x", "x", labels) for labels in (("a",), ("a", "z"), (), ("z",))]
    assert typicality.normal(images, ("a", "b")).tolist() == [True, False, True, False]


def test_every_spoilt_image_has_the_tensor_of_the_recipe_and_the_harm_of_its_name() -> None:
    spec = ImageSpec(height=9, width=14, dtype="uint16")
    image = np.random.default_rng(0).integers(0, 65_536, (3, 9, 14, 3), np.uint16)
    spoilt = unlike.spoil(image, spec, np.random.default_rng(1))
    assert set(spoilt) == {"noise", "blank", "shuffled", "inverted", "rotated", "blur"}
    for name, bad in spoilt.items():
        assert (bad.shape, bad.dtype) == (image.shape, image.dtype), name
        assert (bad != image).any(), name
    assert (spoilt["inverted"] == 65_535 - image).all()
    assert (np.ptp(spoilt["blank"], axis=(1, 2, 3)) == 0).all()
    assert spoilt["blur"].std() < image.std() / 1.2
    assert (np.sort(spoilt["shuffled"], axis=None) == np.sort(image, axis=None)).all()


def test_auroc_is_the_chance_that_the_strange_one_scores_lower() -> None:
    strange, usual = np.array([0, 1, 1, 5], np.float32), np.array([1, 2, 3], np.float32)
    pairs = [(a < b) + 0.5 * (a == b) for a in strange for b in usual]
    assert unlike.auroc(strange, usual) == pytest.approx(np.mean(pairs))


def _checks(**aurocs: float) -> tuple[GateCheck, ...]:
    standard = {"held_out": 0.9, "noise": 1.0, "blank": 1.0, "shuffled": 0.9, "rotated": 0.6}
    return tuple(
        GateCheck(name=name, images=50, rejected=min(value, 0.95), auroc=value)
        for name, value in (standard | aurocs).items()
    )


@pytest.mark.parametrize(
    ("checks", "sentence"),
    [
        (_checks(), None),
        (_checks(noise=0.7), "it stops 70% of noise, which should be 80%"),
        (_checks(blank=0.75), "it stops 75% of blank images, which should be 80%"),
        (
            _checks(held_out=0.6),
            "it hardly tells images of kinds it has no class for from normal ones: AUROC 0.60, which should be 0.7",
        ),
        (_checks(shuffled=0.1, rotated=0.1), "the mean AUROC of its checks is 0.62, which should be 0.8"),
        (_checks()[:1] + _checks()[2:], "it was not tried on noise"),
    ],
)
def test_the_rule_for_validated_says_what_is_missing(checks: tuple[GateCheck, ...], sentence: str | None) -> None:
    assert gate_checks.shortfalls(checks) == ((sentence,) if sentence else ())


def test_the_stand_in_neither_validates_a_gate_nor_keeps_it_from_that() -> None:
    without = _checks()[1:]
    for auroc in (0.1, 1.0):
        stand_in = GateCheck(name=gate_checks.STAND_IN, images=50, rejected=auroc, auroc=auroc)
        assert gate_checks.shortfalls((stand_in, *without)) == ()
        assert gate_checks.shortfalls((stand_in, *_checks(noise=0.7)[1:])) == gate_checks.shortfalls(_checks(noise=0.7))
        (sentence,) = gate_checks.unchecked((stand_in, *without))
        assert sentence.startswith("Held-out classes were not checked")
    assert gate_checks.unchecked(_checks()) == ()


def test_every_check_has_words(trained: Trained) -> None:
    gate = trained.result.bundle.manifest.gate
    assert gate is not None
    assert {check.name for check in gate.checks} | {gate_checks.STAND_IN} == set(gate_checks.WORDS)
    sentence = gate_checks.seen(gate)
    assert all(gate_checks.WORDS[check.name] in sentence for check in gate.checks)


def test_a_trained_gate_ranks_tuning_images_and_stops_what_is_no_image(trained: Trained) -> None:
    gate = trained.result.bundle.manifest.gate
    assert gate is not None
    assert gate.kind == "mahalanobis_all_stages"
    assert gate.reject == trained.recipe.typicality.reject
    assert {check.name for check in gate.checks} >= {"held_out", "noise", "blank", "shuffled", "inverted", "rotated"}
    engine = Engine.open(trained.result.bundle)
    found = data.load(trained.recipe, None)
    usual = typicality.normal(found.parts["tune"], trained.result.heads)
    assert gate.images == usual.sum()
    images = [image.encoded() for image, known in zip(found.parts["tune"], usual, strict=True) if known]
    share = np.array([one.typicality for one in engine.predict(images) if isinstance(one, Prediction)])
    assert len(share) == len(images)
    assert abs(float((share < gate.reject).mean()) - gate.reject) <= 1 / np.sqrt(len(images))
    assert abs(float(share.mean()) - 0.5) <= 1 / np.sqrt(len(images))
    blank = engine.run(np.full((1, 16, 16, 3), 128, np.uint8))[1]
    assert blank.tolist() == [0.0]


def test_an_image_is_as_typical_alone_as_in_a_batch(trained: Trained) -> None:
    engine = Engine.open(trained.result.bundle)
    image = trained.result.bundle.golden().image
    together = engine.run(image)[1]
    alone = np.concatenate([engine.run(row[None])[1] for row in image])
    assert np.abs(together - alone).max() <= export.TYPICALITY_PARITY


def _untrained(trained: Trained, gate: Gate | None) -> export.Graph:
    network = model.create(trained.recipe, np.full(3, 0.3, np.float32), np.zeros(3, np.float32), np.ones(3, np.float32))
    plain = Platt(np.ones(3, np.float32), np.zeros(3, np.float32))
    return export.Graph(network, plain, gate).eval()


def test_a_graph_whose_typicality_differs_from_torch_is_refused(trained: Trained) -> None:
    image = trained.result.bundle.golden().image
    graph = _untrained(trained, None)
    encoded = export.convert(graph, np.repeat(image[:1], 2, axis=0), 18)
    seen = typicality.features(graph.network, image, 8)
    graph.gate = typicality.fit(
        graph.network, image, np.zeros(len(image), np.int64), seen, Typicality(reject=0.5), 0, 8
    )
    with pytest.raises(ExportError, match="the exported typicality differs from torch by"):
        export.check_parity(graph, encoded, image)


def test_weights_that_are_no_numbers_make_every_image_atypical_in_the_exported_graph(trained: Trained) -> None:
    image = trained.result.bundle.golden().image
    graph = _untrained(trained, None)
    seen = typicality.features(graph.network, image, 8)
    graph.gate = typicality.fit(
        graph.network, image, np.zeros(len(image), np.int64), seen, Typicality(reject=0.5), 0, 8
    )
    with torch.no_grad():
        next(iter(graph.network.backbone.parameters())).fill_(float("nan"))
    encoded = export.convert(graph, np.repeat(image[:1], 2, axis=0), 18)
    assert export.run(encoded, image)[1].tolist() == [0.0] * len(image)


def test_too_few_tuning_images_are_said_with_the_mend(trained: Trained) -> None:
    image = trained.result.bundle.golden().image
    network = _untrained(trained, None).network
    seen = typicality.features(network, image, 8)
    with pytest.raises(
        DataError, match=r"cannot tell the least typical 0\.05; add images to tune, or write typicality"
    ):
        typicality.fit(network, image, np.zeros(len(image), np.int64), seen, Typicality(), 0, 8)


def test_without_a_gate_every_image_is_typical_and_the_manifest_has_none(trained: Trained, tmp_path: Path) -> None:
    bare = dataclasses.replace(
        trained.recipe,
        typicality=Typicality(prototypes=0),
        training=dataclasses.replace(trained.recipe.training, epochs=1),
    )
    result = train.run(bare, tmp_path)
    assert result.bundle.manifest.gate is None
    assert result.gate_lacks == ()
    noise = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    assert Engine.open(result.bundle).run(noise)[1].tolist() == [1.0, 1.0]


def test_a_gate_that_does_not_validate_says_so_in_command_report_and_manifest(trained: Trained, tmp_path: Path) -> None:
    """Photographs of one kind that are noise themselves: noise is as typical as anything, and nothing can be held out."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos" / "static").mkdir(parents=True)
    for index in range(240):
        pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / "static" / f"{index}.png")
    (tmp_path / "static.toml").write_text(
        'name = "static"\n[image]\nheight = 16\nwidth = 16\n[data]\nsource = "photos"\nmin_images = 20\n'
        "[training]\nepochs = 1\nbatch_size = 16\nthreads = 1\n"
    )
    ran = CliRunner().invoke(main, ["train", str(tmp_path / "static.toml"), "--data", str(tmp_path / "data")])
    assert ran.exit_code == 0, ran.output
    assert "the gate is NOT VALIDATED, do not count on it against unlike images: it stops " in ran.output
    assert "Held-out classes were not checked" in ran.output
    folder = tmp_path / "data" / "models" / "static"
    opened = bundles.open(folder / "1")
    assert opened.manifest.gate is not None
    assert not opened.manifest.gate.validated
    reported = json.loads((folder / "1.report" / "training.json").read_text())
    assert reported["gate"]["validated"] is False
    assert any("of noise, which should be 80%" in reason for reason in reported["gate_lacks"])
    assert len(reported["gate_unchecked"]) == 1


def test_without_strangers_each_kind_without_its_prototypes_stands_in(trained: Trained) -> None:
    found = data.load(trained.recipe, None)
    heads = trained.result.heads
    tune = [image for image in found.parts["tune"] if image.present <= set(heads)]
    read = tensors.read(tune, heads, trained.recipe.image, "reading")
    network = _untrained(trained, None).network
    seen = typicality.features(network, read.image, 64)
    common = typicality.combinations(read.truth)
    kind = typicality.kinds(read.truth, common)
    gate = typicality.fit(network, read.image, kind, seen, Typicality(), 0, 64)
    described = unlike.check(
        gate,
        lambda image: typicality.features(network, image, 64),
        (read.image, seen),
        np.ones(len(tune), bool),
        kind,
        trained.recipe.image,
        0.05,
        0,
    )
    first = described.checks[0]
    assert (first.name, first.images) == (gate_checks.STAND_IN, len(tune))
    assert gate_checks.unchecked(described.checks)
    apart = gate.without(0, seen[kind != 0])
    assert set(apart.kinds.tolist()) == set(gate.kinds.tolist()) - {0}
    assert first.auroc > 0.8  # colours apart, whatever the network


def test_a_backbone_without_stages_has_a_gate_over_its_embedding_and_the_manifest_says_so(trained: Trained) -> None:
    image = trained.result.bundle.golden().image
    graph = _untrained(trained, None)
    deep = graph.network.backbone
    graph.network.backbone = torch.nn.Sequential(deep)
    seen = typicality.features(graph.network, image, 8)
    gate = typicality.fit(graph.network, image, np.zeros(len(image), np.int64), seen, Typicality(reject=0.5), 0, 8)
    assert gate.over == "mahalanobis_embedding"
    assert seen.shape[1] == graph.network.head.in_features


def test_the_manifest_keeps_the_gate_and_older_manifests_have_none(trained: Trained) -> None:
    manifest = trained.result.bundle.manifest
    assert type(manifest).model_validate_json(manifest.model_dump_json()) == manifest
    older = json.loads(manifest.model_dump_json())
    del older["gate"]
    assert type(manifest).model_validate(older).gate is None
    assert Described.model_validate(manifest.gate.model_dump() if manifest.gate else {}) == manifest.gate


@pytest.mark.parametrize("wrong", [{"reject": 0}, {"reject": 1}, {"prototypes": -1}])
def test_a_recipe_refuses_a_gate_that_cannot_be(wrong: dict[str, float]) -> None:
    (key,) = wrong
    with pytest.raises(Exception, match=rf"typicality\.{key} = "):
        from_dict({"name": "x", "image": {"height": 1, "width": 1}, "typicality": wrong})
