"""MAPIE's risk control as an oracle: another implementation of Learn-then-Test, from other hands, on shared cases.

Its p-value for a binary loss is the smaller of the exact binomial tail and Hoeffding's (which is never the smaller), after a
rounding of `n * risk` upwards that can count one error too many. So wherever MAPIE rejects, so must we; and we never accept
what the exact tail, computed here with scipy.stats, does not allow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.risk_control import BinaryClassificationController
from scipy.stats import binom

from model_store.bundle import Bundle
from tests import bundles
from tests.training.populations import NOW, population, recipe_for
from training import sequence, tuning
from training.binomial import allowed_errors, lower_bound
from training.certify import blank, certify
from training.points import Points

# It warns where nothing, or everything, can be controlled, and both are among the cases.
pytestmark = pytest.mark.filterwarnings("ignore:(All provided|No predict):UserWarning")


def controller(thresholds: Any, score: Any, truth: Any, target: float, delta: float, method: Any) -> Any:
    """MAPIE on one class: the scores are the features."""
    made = BinaryClassificationController(
        predict_function=lambda x: np.column_stack([1 - x.ravel(), x.ravel()]),
        risk="precision",
        target_level=target,
        confidence_level=1 - delta,
        list_predict_params=thresholds,
        fwer_method=method,
    )
    return made.calibrate(score.reshape(-1, 1), truth)


def one_class(seed: int, n: int, skill: float) -> tuple[Any, Any, Any]:
    """Scores and truth of one class, and candidate thresholds from strict to lenient; float64, as MAPIE computes."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.5).astype(int)
    score = (
        np.round(1 / (1 + np.exp(-rng.normal(skill * (2 * truth - 1), 1.5))), 3).astype(np.float32).astype(np.float64)
    )
    thresholds = np.sort(np.quantile(score, np.linspace(0.5, 0.9, 9)))[::-1]
    return score, truth, np.unique(thresholds)[::-1].copy()


def ours(thresholds: Any, score: Any, truth: Any, target: float, delta: float) -> sequence.Tested:
    order = np.argsort(-score, kind="stable")
    n = len(score)
    points = Points(order, np.zeros(n, np.intp), score[order].astype(np.float32), truth[order] == 0, np.array([0, n]))
    at = thresholds.astype(np.float32)
    return sequence.presence(at, *points.counts(0, at), target, delta)


CASES = [
    (seed, n, skill, target, delta)
    for seed, (n, skill) in enumerate(
        [(300, 2.0), (300, 3.0), (1000, 1.5), (1000, 2.5), (3000, 2.0), (60, 3.0), (3000, 0.2)]
    )
    for target in (0.8, 0.9, 0.95)
    for delta in (0.1, 0.01)
]


@pytest.mark.filterwarnings(
    "ignore:.*:UserWarning"
)  # it warns where nothing can be controlled, which some cases are for
@pytest.mark.parametrize(("seed", "n", "skill", "target", "delta"), CASES)
def test_the_same_sequence_ends_at_the_same_threshold(
    seed: int, n: int, skill: float, target: float, delta: float
) -> None:
    score, truth, thresholds = one_class(seed, n, skill)
    found = ours(thresholds, score, truth, target, delta)
    theirs = controller(thresholds, score, truth, target, delta, "fixed_sequence")
    valid = np.asarray(theirs.valid_predict_params).ravel()
    if found.threshold is None:
        assert not len(valid)
    else:
        fires = score >= float(found.threshold)
        firings, errors = int(fires.sum()), int((fires & (truth == 0)).sum())
        assert (found.firings, found.errors) == (firings, errors)
        assert binom.cdf(errors, firings, 1 - target) <= delta
        rounded_up = np.ceil(firings * (1 - (1 - errors / firings))) > errors
        assert rounded_up or (len(valid) and np.float32(valid.min()) == found.threshold)
    if len(valid):
        assert found.threshold is not None
        assert found.threshold <= np.float32(valid.min()), "MAPIE never goes further: it rounds errors up, never down"


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3000),
    st.integers(0, 60),
    st.sampled_from([0.8, 0.9, 0.95, 0.99]),
    st.sampled_from([0.1, 0.05, 0.001]),
)
def test_the_exact_test_is_scipys(firings: int, errors: int, target: float, delta: float) -> None:
    """Never less strict than the exact tail allows, and never stricter."""
    errors = min(errors, firings)
    allowed = bool(allowed_errors(firings, target, delta) >= errors)
    tail = binom.cdf(errors, firings, 1 - target)
    if abs(tail - delta) > 1e-9 * delta:
        assert allowed == (tail <= delta)
        assert allowed == (lower_bound(firings, errors, delta) >= target)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.make(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("seed", range(5))
def test_every_certificate_would_be_given_by_mapie_too(bundle: Bundle, seed: int) -> None:
    """The whole procedure: on the images on which nothing stops a class, MAPIE controls precision at our threshold."""
    tune, evidence = population(900, 2 * seed), population(2500, 2 * seed + 1)
    made = certify(bundle, recipe_for(), {}, tune, evidence, NOW)
    plan = tuning.plan(blank(bundle, recipe_for()), tune, len(evidence), recipe_for().certification)
    certified = 0
    for k, label in enumerate(bundle.manifest.heads):
        proof, threshold = made.classes[label].certificate, made.classes[label].threshold
        if proof is None or threshold is None:
            continue
        certified += 1
        stopped = np.zeros(len(evidence), bool)
        for j in range(3):
            stopped |= (evidence.probability[:, j] >= plan.veto[j]) & (j != k)
        score = np.where(stopped, np.float32(0), evidence.probability[:, k]).astype(np.float64)
        theirs = controller(
            np.array([threshold]), score, evidence.truth[:, k].astype(int), proof.target, proof.level, "bonferroni"
        )
        p_value = float(np.asarray(theirs.p_values).ravel()[0])
        exact, one_more = (binom.cdf(proof.errors + more, proof.firings, 1 - proof.target) for more in (0, 1))
        assert exact * (1 - 1e-6) <= p_value <= one_more * (1 + 1e-6)
        assert exact <= proof.level
    assert certified
