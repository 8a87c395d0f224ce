"""The plan: what it foretells comes true, what it costs adds up, and what nobody can promise is refused."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from model_store.bundle import Bundle
from model_store.errors import DocumentError
from secondreader import main
from tests import bundles
from tests.training.conftest import Trained
from training import data, plan, recipe, report, report_commands
from training.certify import certify
from training.errors import DataError
from training.evaluate import evaluate
from training.plan import Work, costs
from training.promises import Estimate, Promise, simulate, take
from training.recipe import Certification, Recipe
from training.score import Scores
from triage.promise.audit_policy import AuditPolicy

KNOBS = Certification(candidates=30, vetoes=(0.1, 0.5))


def population(n: int, seed: int) -> Scores:
    """Images of three exclusive classes, two of them easy, and a few of a fourth that has no head."""
    rng = np.random.default_rng(seed)
    kind = np.where(rng.random(n) < 0.03, 3, rng.integers(0, 3, n))
    logit = rng.normal(-2.5, 1.5, (n, 3))
    for k, gain in enumerate((5.5, 5.0, 2.0)):
        logit[kind == k, k] += gain
    truth = (kind[:, None] == np.arange(3)).astype(np.int8)
    return Scores((), (1 / (1 + np.exp(-logit))).astype(np.float32), np.ones(n, np.float32), truth, 0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.make(tmp_path_factory.mktemp("data"))


def _recipe() -> Recipe:
    return dataclasses.replace(recipe.sample(), certification=KNOBS)


def test_it_counts_with_as_many_audits_as_a_site_makes_that_does_not_say() -> None:
    (option,) = [each for each in report_commands.plan.params if each.name == "audits"]
    assert Work().audits == option.default == AuditPolicy().probability


def test_what_it_foretells_comes_true(bundle: Bundle) -> None:
    """Real certifications on fresh images answer a share that lies within the interval, and err as foretold."""
    world = population(30_000, seed=99)
    real = []
    for seed in range(8):
        made = certify(
            bundle,
            _recipe(),
            {},
            population(1500, seed),
            population(2000, 100 + seed),
            datetime.datetime.now(datetime.UTC),
        )
        real.append(evaluate(bundle, made, world).all)
    found = simulate(bundle, _recipe(), population(1500, 50), 2000, (0.95, 0.1), 20)
    assert found.errors is not None
    assert found.share.low <= np.mean([each.coverage for each in real]) <= found.share.high
    wrong = 1000 * np.mean([each.wrong / each.answered for each in real])
    assert found.errors.low <= wrong <= found.errors.high
    assert found.anything == 1
    assert found.classes["red"] > found.classes["blue"]


def test_a_stricter_promise_answers_less_and_errs_less(bundle: Bundle) -> None:
    tune = population(1500, 1)
    lenient, strict = (simulate(bundle, _recipe(), tune, 1500, (target, 0.1), 6) for target in (0.9, 0.98))
    assert strict.share.mean < lenient.share.mean
    assert strict.errors is not None
    assert lenient.errors is not None
    assert strict.errors.mean < lenient.errors.mean


def test_more_certification_images_answer_more(bundle: Bundle) -> None:
    tune = population(1500, 1)
    few, many = (simulate(bundle, _recipe(), tune, images, (0.95, 0.1), 6).share.mean for images in (150, 4000))
    assert few < many


def test_the_same_seed_foretells_the_same(bundle: Bundle) -> None:
    one, two = (simulate(bundle, _recipe(), population(400, 3), 500, (0.9, 0.1), 3) for _ in range(2))
    assert one == two


def test_too_few_tuning_images_foretell_nothing(bundle: Bundle) -> None:
    with pytest.raises(DataError, match="19 tuning images foretell nothing; plan with 20 or more"):
        simulate(bundle, _recipe(), population(19, 0), 100, (0.9, 0.1), 1)


def test_rows_are_taken_as_often_as_they_are_named() -> None:
    scores = population(10, 0)
    taken = take(scores, np.array([3, 3, 7]))
    assert (taken.probability == scores.probability[[3, 3, 7]]).all()
    assert len(taken) == 3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_an_estimate_lies_among_its_draws(draws: list[float]) -> None:
    found = Estimate.of(draws)
    assert found is not None
    assert min(draws) <= found.low <= found.high <= max(draws)
    assert min(draws) - 1e-9 <= found.mean <= max(draws) + 1e-9


@given(st.floats(0, 1), st.floats(0, 100), st.floats(0, 1))
def test_costs_add_up(share: float, errors: float, audits: float) -> None:
    work = Work(rate=300, hours=10, seconds=30, audits=audits, wage=20, cost_per_error=5)
    found = costs(work, share, errors)
    assert found.to_people == pytest.approx(1 - share * (1 - audits))
    assert found.reading_hours == pytest.approx(3000 * found.to_people * 30 / 3600)
    assert found.errors == pytest.approx(3000 * share * errors / 1000)
    assert found.money == pytest.approx(20 * found.reading_hours + 5 * found.errors)
    assert found.people <= costs(work, 0, 0).people


def test_a_row_takes_more_people_where_less_is_answered() -> None:
    promise = Promise(0.95, 0.1, Estimate(0.5, 0.2, 0.9), Estimate(10, 5, 20), 1.0, {})
    row = plan.row(Work(rate=2000), promise)
    assert row.few <= row.costs.people <= row.many
    assert row.costs.money is None
    nothing = plan.row(Work(rate=2000), Promise(0.99, 0.1, Estimate(0, 0, 0), None, 0.0, {}))
    assert nothing.costs.people == costs(Work(rate=2000), 0, 0).people
    assert nothing.costs.errors == 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rate": 0}, "rate = 0: give a number above 0"),
        ({"rate": math.inf}, "rate = inf: give a number above 0"),
        ({"seconds": -3}, "seconds = -3: give a number above 0"),
        ({"wait": math.nan}, "wait = nan: give 0 or more"),
        ({"wage": -1}, "wage = -1: give 0 or more"),
        ({"peak": 0.5}, "peak = 0.5: the busiest hour is at least an average one; give 1 or more"),
        ({"hours": 25}, "hours = 25: a day has 24; give fewer"),
        ({"within": 1}, "within = 1: give a share between 0 and 1"),
        ({"audits": 1.5}, "audits = 1.5: give a share from 0 to 1"),
    ],
)
def test_work_that_cannot_be_is_one_sentence(changes: dict[str, float], sentence: str) -> None:
    with pytest.raises(DocumentError, match=sentence):
        Work(**changes)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (("--images", "0"), "images = 0: give the number of images"),
        (("--draws", "0"), "draws = 0: give 1 or more"),
        (("--rate", "0"), "rate = 0: give a number above 0"),
    ],
)
def test_the_command_refuses_in_one_sentence(trained: Trained, option: tuple[str, str], sentence: str) -> None:
    result = CliRunner().invoke(main, ["plan", "colours/1", "--data", str(trained.data), *option])
    assert result.exit_code == 1
    assert sentence in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("command", ["plan", "certify"])
@pytest.mark.parametrize(("option", "value"), [("--target", "1"), ("--delta", "0")])
def test_what_nobody_can_promise_is_no_option(trained: Trained, command: str, option: str, value: str) -> None:
    result = CliRunner().invoke(main, [command, "colours/1", "--data", str(trained.data), option, value])
    assert result.exit_code == 2
    assert f"{value}.0 is not in the range 0<x<1" in result.output


def test_the_command_plans_without_a_certification_image(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certification images may be counted; a plan that opened one would fail here."""
    loaded = data.load(trained.recipe, None)
    gone = [dataclasses.replace(image, source=Path("/nowhere")) for image in loaded.parts["certify"]]
    monkeypatch.setattr(
        data, "load", lambda recipe, out, bundle: dataclasses.replace(loaded, parts={**loaded.parts, "certify": gone})
    )
    command = ["plan", "colours/1", "--data", str(trained.data), "--draws", "2", "--target", "0.8"]
    result = CliRunner().invoke(main, [*command, "--wage", "30", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["images"] == len(gone)
    assert [row["promise"]["target"] for row in found["rows"]] == [0.8]
    assert found["rows"][0]["costs"]["money"] <= found["nothing_automatic"]["money"]
    assert report.read(trained.result.bundle, "plan") == found
    table = CliRunner().invoke(main, command)
    assert table.exit_code == 0, table.output
    assert "people alone" in table.output
    gone.clear()
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 1
    assert "no certification image is there to plan for; add some, or say with --images" in refused.output
    assert CliRunner().invoke(main, [*command, "--images", "50"]).exit_code == 0
