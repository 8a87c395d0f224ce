"""The numbers on the page: what has to hold of curves, bins, and which images are shown."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from model_store import decision
from model_store.binomial import printed
from model_store.bundle import Bundle
from model_store.decision import DecisionTable
from model_store.labels import Group, Label, LabelSchema
from tests import bundles
from training import curves, mistakes, reliability, wording
from training.charts import ticks
from training.curves import Answered
from training.images import UNKNOWN, from_bytes, truth
from training.score import Scores


def scores(rows: list[tuple[tuple[float, float, float], str]], typicality: float = 1.0) -> Scores:
    """Images of the bundle's heads red, green, blue: probabilities, and the label that is true."""
    images = tuple(from_bytes(bytes([index]), str(index), [label]) for index, (_, label) in enumerate(rows))
    probability = np.array([row[0] for row in rows], np.float32).reshape(-1, 3)
    return Scores(
        images, probability, np.full(len(rows), typicality, np.float32), truth(images, ("red", "green", "blue")), 0
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.make(tmp_path_factory.mktemp("data"))


answers = st.integers(1, 300).flatmap(
    lambda n: st.builds(
        Answered,
        arrays.arrays(np.float64, n, elements=st.integers(0, 20).map(lambda x: x / 20)),
        arrays.arrays(np.bool_, n),
    )
)


class TestCurves:
    @given(answers)
    def test_no_ranking_beats_the_oracle(self, answered: Answered) -> None:
        ours, best = curves.ours(answered), curves.oracle(answered)
        assert (ours.error >= np.interp(ours.coverage, best.coverage, best.error) - 1 / len(answered.right)).all()
        for error in (0.0, 0.05, 0.3):
            assert curves.coverage_at(ours, error) <= curves.coverage_at(best, error) + 1 / curves.POINTS

    @given(answers)
    def test_all_answered_both_err_as_the_model_does(self, answered: Answered) -> None:
        for curve in (curves.ours(answered), curves.oracle(answered)):
            assert curve.coverage[-1] == 1
            assert curve.error[-1] == pytest.approx(1 - answered.right.mean())
            assert (np.diff(curve.coverage) > 0).all()
            assert len(curve.coverage) <= curves.POINTS

    def test_nothing_gives_empty_curves(self) -> None:
        nothing = Answered(np.zeros(0), np.zeros(0, bool))
        assert len(curves.ours(nothing).coverage) == len(curves.oracle(nothing).coverage) == 0
        assert curves.coverage_at(curves.ours(nothing), 1.0) == 0

    def test_the_best_answer_of_an_exclusive_group_is_the_highest_score(self, bundle: Bundle) -> None:
        found = curves.best_answers(
            bundle.manifest, scores([((0.9, 0.2, 0.1), "red"), ((0.3, 0.6, 0.1), "other")]), floor=0.0
        )
        assert found.confidence.tolist() == pytest.approx([0.9, 0.6])
        assert found.right.tolist() == [True, False]

    def test_atypical_images_come_last_and_unknown_ones_not_at_all(self, bundle: Bundle) -> None:
        some = scores([((0.9, 0.2, 0.1), "red"), ((0.3, 0.6, 0.1), "green"), ((0.3, 0.7, 0.1), "green")])
        some.typicality[0] = 0.01
        some.truth[2, 1] = UNKNOWN
        found = curves.best_answers(bundle.manifest, some, floor=0.05)
        assert found.confidence.tolist() == pytest.approx([-0.1, 0.6])

    def test_each_decided_is_as_sure_as_its_least_sure_member(self, bundle: Bundle) -> None:
        labels = tuple(Label(id=name, name=name, group="findings") for name in ("red", "green", "blue"))
        schema = LabelSchema(labels=labels, groups=(Group(id="findings", kind="independent"),))
        manifest = bundle.manifest.model_copy(update={"labels": schema})
        found = curves.best_answers(manifest, scores([((0.9, 0.2, 0.05), "red"), ((0.9, 0.6, 0.1), "red")]), 0.0)
        assert found.confidence.tolist() == pytest.approx([0.8, 0.6])
        assert found.right.tolist() == [True, False]


class TestReliability:
    @given(
        st.integers(0, 400).flatmap(
            lambda n: st.tuples(
                arrays.arrays(np.float32, n, elements=st.floats(0, 1, width=32)), arrays.arrays(np.bool_, n)
            )
        )
    )
    def test_bins_hold_every_answer_once_and_bound_what_was_seen(self, given: tuple[np.ndarray, np.ndarray]) -> None:
        score, right = given
        bins = reliability.bins(score, right)
        assert sum(each.answers for each in bins) == len(score)
        assert all(one.high <= other.low for one, other in pairwise(bins))
        for each in bins:
            assert each.low <= each.predicted <= each.high
            assert each.lower <= each.right <= each.upper
            assert len(bins) == 1 or each.answers >= reliability.FEWEST
        assert sum(each.answers * each.right for each in bins) == pytest.approx(right.sum())
        gap = reliability.gap(bins)
        assert (gap is None) == (len(score) == 0)
        assert gap is None or 0 <= gap <= 1

    def test_scores_that_mean_what_they_say_leave_a_small_gap(self) -> None:
        rng = np.random.default_rng(0)
        score = rng.uniform(0.5, 1, 20_000).astype(np.float32)
        honest, boastful = rng.random(20_000) < score, rng.random(20_000) < score - 0.2
        small, large = (reliability.gap(reliability.bins(score, right)) for right in (honest, boastful))
        assert small is not None
        assert large is not None
        assert small < 0.01
        assert large == pytest.approx(0.2, abs=0.01)


class TestMistakes:
    rows = (
        ((0.99, 0.01, 0.01), "red"),
        ((0.97, 0.01, 0.01), "green"),  # wrong, and the surest of them
        ((0.92, 0.01, 0.01), "other"),  # wrong, on something without a head
        ((0.89, 0.01, 0.01), "red"),  # just missed .9
        ((0.10, 0.91, 0.01), "green"),  # just reached it
        ((0.95, 0.60, 0.01), "red"),  # stopped by green's veto, and green is far from its threshold
    )

    def test_the_images_to_look_at(self, bundle: Bundle) -> None:
        table = DecisionTable.build(bundles.rules(bundle), bundle.manifest)
        test = scores(list(self.rows))
        decided = decision.decide(table, test.probability, test.typicality)
        worst = mistakes.worst(table, test, decided)
        assert [(each.row, each.label, each.answered, each.wrong) for each in worst] == [
            (1, "red", True, True),
            (2, "red", True, True),
        ]
        edge = mistakes.borderline(table, test, decided, limit=4)
        assert [(each.row, each.label, each.answered) for each in edge] == [
            (4, "green", True),
            (2, "red", True),
            (3, "red", False),
        ]
        found = mistakes.confusion(bundle.manifest, test, decided)
        assert found.counts == {
            ("red", "red"): 1, ("red", "green"): 1, ("red", "other"): 1, ("green", "green"): 1,
        }  # fmt: skip
        assert found.wrong() == [("red", "green", 1), ("red", "other", 1)]

    def test_an_image_that_shows_nothing_of_the_group_is_taken_for_something(self, bundle: Bundle) -> None:
        test = scores([((0.99, 0.01, 0.01), "red")])
        empty = dataclasses.replace(test.images[0], present=frozenset())
        test = dataclasses.replace(test, images=(empty,), truth=np.zeros((1, 3), np.int8))
        table = DecisionTable.build(bundles.rules(bundle), bundle.manifest)
        decided = decision.decide(table, test.probability, test.typicality)
        assert mistakes.confusion(bundle.manifest, test, decided).counts == {("red", mistakes.NONE): 1}

    def test_no_images_no_mistakes(self, bundle: Bundle) -> None:
        table = DecisionTable.build(bundles.rules(bundle), bundle.manifest)
        test = scores([])
        decided = decision.decide(table, test.probability, test.typicality)
        assert mistakes.worst(table, test, decided) == mistakes.borderline(table, test, decided) == []


class TestWording:
    @given(st.floats(0, 1), st.integers(0, 2))
    def test_a_share_never_reads_as_all_or_nothing_unless_it_is(self, value: float, digits: int) -> None:
        written = wording.share(value, digits)
        assert (written == "100%") == (value == 1)
        assert (written == "0%") == (value == 0)
        assert written.startswith("almost") or abs(float(written[:-1]) - 100 * value) <= 0.5 / 10**digits + 1e-9

    @given(st.floats(0, 1), st.integers(0, 3))
    def test_a_bound_never_claims_more_than_it_is(self, value: float, digits: int) -> None:
        assert value - 10**-digits < printed(value, digits) <= value <= printed(value, digits, upper=True)
        low, high = wording.lower_bound(value, digits), wording.upper_bound(value, digits)
        assert float(low.removesuffix("%")) <= 100 * value + 1e-9
        assert float(high.removesuffix("%")) >= 100 * value - 1e-9

    def test_bounds(self) -> None:
        assert (wording.lower_bound(0.95253), wording.upper_bound(0.04741)) == ("95.2%", "4.8%")
        assert (wording.lower_bound(0.29, 0), wording.upper_bound(0.29, 0)) == ("29%", "29%"), "what is exact stays"

    def test_words(self) -> None:
        assert wording.share(0.98312) == "98.3%"
        assert wording.share(0.9996, 0) == "99.96%"
        assert wording.targets([0.95]) == "95%"
        assert wording.targets([0.9, 0.99]) == "90% to 99% (each class its own)"
        assert wording.day("2026-03-03T01:02:03+00:00") == "3 March 2026"
        assert wording.moment("2026-03-03T01:02:03+00:00") == "3 March 2026, 01:02 UTC"
        assert wording.number(1444) == "1,444"


@given(st.floats(-1000, 1000), st.floats(0.001, 1000), st.integers(3, 10))
def test_ticks_are_few_round_and_inside(low: float, width: float, most: int) -> None:
    found = ticks(low, low + width, most)
    assert 1 <= len(found) <= most + 1
    assert all(low - 1e-6 * width <= each <= low + width * (1 + 1e-6) for each in found)
