"""The drift score: near nothing for images like those of tuning, and large for others, after enough of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from tests.triage.gateway_parts import Wired
from triage.promise.drift import FEWEST, WINDOW, Recent, score


@given(st.lists(st.floats(0, 1), min_size=FEWEST, max_size=FEWEST + 50))
def test_it_is_the_distance_of_kolmogorov_and_smirnov(typicality: list[float]) -> None:
    assert score(typicality) == pytest.approx(kstest(typicality, "uniform").statistic, abs=1e-12)


def test_images_like_those_of_tuning_score_low_and_others_high() -> None:
    chance = np.random.default_rng(7)
    like = [score(chance.uniform(size=WINDOW).tolist()) or 0.0 for _ in range(300)]
    assert np.quantile(like, 0.99) < 1.63 / np.sqrt(WINDOW) * 1.1
    assert (score(chance.beta(1, 6, size=WINDOW).tolist()) or 0.0) > 0.4


def test_only_the_newest_count_and_few_say_nothing() -> None:
    recent = Recent()
    for _ in range(FEWEST - 1):
        recent.saw("default", "ward", 0.0)
    assert recent.scores() == {}
    for value in np.linspace(0, 1, WINDOW):
        recent.saw("default", "ward", float(value))
    assert recent.scores()["default", "ward"] < 0.01


async def test_every_site_is_scored_by_what_it_was_sent(gateway: Wired) -> None:
    for salt in range(3):
        await gateway.predict("red", salt)
    seen = gateway.intake.recent._seen["default", "default"]
    assert len(seen) == 3
    assert {record.typicality for record in gateway.predictions()} == set(seen)
