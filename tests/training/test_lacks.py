"""What a class lacks is computed: exactly so many answers more, and a plan only where evidence can help."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.bundle import Bundle
from tests import bundles
from tests.training.populations import NOW, population, recipe_for
from training import lacks, sampling, sequence
from training.binomial import allowed_errors, chance_to_pass, upper_bound
from training.certify import certify
from training.recipe import Certification
from training.tuning import Candidates


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.make(tmp_path_factory.mktemp("data"))


TARGETS = st.sampled_from([0.8, 0.9, 0.95, 0.99])
LEVELS = st.sampled_from([0.1, 0.05, 0.01, 0.001])


def tried(*counts: tuple[int, int], best: int = 0) -> Candidates:
    """Candidates that fire so often, so often wrongly, on tuning images; the start is the one at `best`."""
    firings, errors = np.array(counts, np.int64).reshape(-1, 2).T
    chance = np.zeros(len(counts))
    chance[best : best + 1] = 1
    return Candidates(np.linspace(0.99, 0.5, len(counts)).astype(np.float32), firings, errors, chance)


@given(st.integers(1, 800), st.integers(0, 30), TARGETS, LEVELS)
def test_so_many_more_correct_answers_would_do_and_one_fewer_would_not(
    firings: int, errors: int, target: float, level: float
) -> None:
    errors = min(errors, firings)
    if allowed_errors(firings, target, level) >= errors:
        return
    said = lacks.presence(tried((100, 1)), sequence.Tested(None, firings, errors), target, level)
    more = int(re.match(r"(\d+) more correct answers: ", said)[1])  # type: ignore[index]
    assert allowed_errors(firings + more, target, level) >= errors
    assert allowed_errors(firings + more - 1, target, level) < errors


def test_the_sentence_of_a_failed_class() -> None:
    """45 prove .9 with one error at delta .05; 15 with one do not."""
    assert lacks.presence(tried((200, 4)), sequence.Tested(None, 15, 1), 0.9, 0.05).startswith(
        "31 more correct answers: 15 with 1 wrong do not prove 0.9"
    )


@given(st.integers(0, 20), st.integers(1, 100), TARGETS, LEVELS)
def test_the_answers_a_rate_takes_are_the_fewest_that_do(wrong: int, of: int, target: float, level: float) -> None:
    rate = wrong / of
    needed = lacks.answers_needed(rate, target, level)
    if rate >= 1 - target:
        assert needed is None, "no evidence proves what is not so"
    elif needed is not None:
        assert allowed_errors(needed, target, level) >= np.ceil(rate * needed - 1e-9)


@pytest.mark.parametrize(
    ("candidates", "tested", "says"),
    [
        (tried(), None, "no tuning image lets it fire"),
        (tried((40, 9)), None, "9 of 40 answers are wrong at its best threshold, too many to prove 0.95 on any evidence"),
        (tried((20, 0)), None, "at that rate it takes 59 answers to prove 0.95 with its share of delta; certify"),
        (tried((40, 9)), sequence.Tested(None, 30, 5), "too many to prove it on any evidence; train on more images of it"),
        (tried((90, 1)), sequence.Tested(None, 30, 0), "29 more correct answers: 30 with 0 wrong do not prove 0.95; certify"),
    ],
    ids=["never fires", "hopeless", "rare", "failed and hopeless", "failed and rare"],
)  # fmt: skip
def test_each_case_says_what_would_help(candidates: Candidates, tested: sequence.Tested | None, says: str) -> None:
    assert says in lacks.presence(candidates, tested, 0.95, 0.05)


def test_a_class_that_is_not_attempted_says_what_is_expected_and_what_its_share_of_delta_takes(
    bundle: Bundle,
) -> None:
    """At .1 shared by nobody 45 answers without an error prove .95; a class beside others has less of it."""
    said = lacks.presence(tried((44, 0)), None, 0.95, 0.1 / 5, scale=0.5)
    assert said == (
        "not attempted: on tuning images 0 of 44 answers are wrong at its best threshold; about 22 are expected on the "
        "certification images, and at that rate it takes 77 answers to prove 0.95 with its share of delta; certify on more "
        "images"
    )
    made = certify(bundle, recipe_for(), {}, population(2000, 0), population(300, 1), NOW).classes
    proof = made["red"].certificate
    assert proof is not None
    assert proof.attempted == 1
    found = re.search(
        r"(\d+) of (\d+) answers .* about (\d+) are expected .* it takes (\d+) answers", made["green"].lacks
    )
    assert found is not None, made["green"].lacks
    wrong, of, expected, needed = (int(each) for each in found.groups())
    assert expected == round(of * 300 / 2000)
    assert needed == lacks.answers_needed(wrong / of, 0.95, proof.delta / 2), "with a half beside red"


def test_so_many_certification_images_might_prove_something_and_one_fewer_cannot() -> None:
    promise = Certification(target=0.99, delta=0.1, targets={"red": 0.95})
    assert lacks.evidence(45, ["red", "blue"], promise) == ""
    assert lacks.evidence(44, ["red", "blue"], promise).startswith(
        "only 44 images can certify, and it takes 45 right answers to prove 0.95: nothing will answer by itself; label 1 more"
    )
    assert "0 images can certify, and it takes 230 right answers to prove 0.99" in lacks.evidence(0, ["blue"], promise)


def test_a_plan_reaches_down_to_where_the_target_is_still_plausible() -> None:
    seen = tried((20, 0), (40, 1), (60, 3), (80, 20))
    drawn = sampling.plan(seen, Certification(sampling=0.25), 0.95, 0.05)
    assert drawn is not None
    assert drawn.probability == 0.25
    assert np.float32(drawn.threshold) == seen.threshold[2]
    assert upper_bound(60, 3, 0.1) >= 0.95 > upper_bound(80, 20, 0.1)
    assert sampling.share(drawn, seen, 6000) == 60 / 6000 * 0.25
    assert f"{drawn.reads} reads, drawn from 0.25% of the stream" in sampling.says(drawn, seen, 6000)


def test_the_reads_of_a_plan_have_nearly_the_best_chance_and_fewer_have_not() -> None:
    seen = tried((20, 0), (40, 1), (60, 3), (80, 20))
    drawn = sampling.plan(seen, Certification(), 0.95, 0.05)
    assert drawn is not None
    assert drawn.reads is not None

    def chance(reads: int) -> float:
        """The best threshold's, of so many readings at the lenient one, the third."""
        future = np.round(reads * seen.firings[:3] / 60).astype(np.int64)
        return float(chance_to_pass(seen.firings[:3], seen.errors[:3], future, 0.95, 0.05).max())

    best = max(chance(reads) for reads in range(59, 1400, 7))
    assert chance(drawn.reads) > 0.95 * sampling.NEARLY * best
    assert chance(drawn.reads // 2) < sampling.NEARLY * best


@pytest.mark.parametrize("level", [0.1, 0.01])
def test_a_plan_reads_at_least_what_proves_the_target_without_an_error(level: float) -> None:
    drawn = sampling.plan(tried((500, 0)), Certification(), 0.95, level)
    assert drawn is not None
    assert drawn.reads is not None
    assert allowed_errors(drawn.reads, 0.95, level) >= 0
    assert allowed_errors(drawn.reads - 1, 0.95, level) < 0, "and no more, where there are none"


@pytest.mark.parametrize(
    ("candidates", "knobs"),
    [(tried(), Certification()), (tried((40, 9)), Certification()), (tried((20, 0)), Certification(sampling=0))],
    ids=["never fires", "hopeless", "not wanted"],
)
def test_no_plan_where_evidence_cannot_help_or_is_not_wanted(candidates: Candidates, knobs: Certification) -> None:
    assert sampling.plan(candidates, knobs, 0.95, 0.05) is None
    assert sampling.says(None, candidates, 100) == ""
