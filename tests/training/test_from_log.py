"""Certificates from what people read in operation: the same promise, on images drawn among a class's firings."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from model_store import rules as store
from model_store.bundle import Bundle
from model_store.decision import DecisionTable, would_fire
from model_store.errors import DocumentError
from model_store.record import PolicySnapshot, PredictionRecord, VerdictRecord, arrow_schema, to_row
from model_store.rules import ClassRule, Rules, Sampling
from tests import bundles
from tests.training.conftest import Trained
from tests.training.test_certify import KNOBS, NOW, _recipe, population
from training import commands, from_log
from training.certify import certify
from training.data import load
from training.errors import DataError
from training.evaluate import evaluate
from training.from_log import Evidence
from training.images import UNKNOWN
from training.readings import OVERDUE_DAYS, readings
from training.score import Scores, score

DAY = 24 * 3600 * 1_000_000


def prediction(index: int, label: str = "red", at: int | None = None, **changes: Any) -> PredictionRecord:
    values: dict[str, Any] = {
        "id": f"p{index:05d}", "project": "default", "site": "default", "received_at": at if at is not None else index,
        "sha256": f"{index:064x}", "size": 1, "format": "PNG", "width": 1, "height": 1, "route": "review",
        "policy": PolicySnapshot(mode="live"), "drawn": (label,), "provider": "cpu", "precision": "fp32",
    }  # fmt: skip
    return PredictionRecord(**{**values, **changes})


def verdict(of: PredictionRecord, present: bool, reading: int = 1, label: str = "red", **changes: Any) -> VerdictRecord:
    values: dict[str, Any] = {
        "id": f"v{of.id}-{reading}", "prediction": of.id, "project": of.project, "site": of.site, "queue": "q",
        "sha256": of.sha256, "reviewer": f"reader-{reading}", "answers": {label: "present" if present else "absent"},
        "blind": True, "reading": reading, "drawn": of.drawn, "leased_at": of.received_at, "at": of.received_at + 1,
    }  # fmt: skip
    return VerdictRecord(**{**values, **changes})


def ends(*said: tuple[bool, ...], now: int = 100) -> tuple[list[bool], int]:
    """What becomes of drawn images, each with the answers of its readers in turn."""
    drawn = [prediction(index) for index in range(len(said))]
    verdicts = [
        verdict(record, present, reading + 1)
        for record, answers in zip(drawn, said, strict=True)
        for reading, present in enumerate(answers)
    ]
    found, waiting = readings(drawn, verdicts, "red", now)
    return [each.right for each in found], waiting


def test_a_reader_confirms_and_only_two_doubt() -> None:
    assert ends((True,), (False, True), (False, False)) == ([True, True, False], 0)


def test_what_is_open_keeps_back_everything_that_came_after_it() -> None:
    assert ends((True,), (), (True,)) == ([True], 2)
    assert ends((True,), (False,), (True,)) == ([True], 2), "a doubt waits for the second reader"
    assert ends((True,), (), (True,), now=OVERDUE_DAYS * DAY + 100) == ([True, False, True], 0), "overdue is wrong"


def test_a_doubt_counts_at_once_where_no_second_reader_is_asked() -> None:
    record = prediction(0)
    assert [r.right for r in readings([record], [verdict(record, False, second_reader=False)], "red", 9)[0]] == [False]


def test_a_revised_answer_replaces_the_first_and_another_class_is_not_evidence() -> None:
    record, other = prediction(0), prediction(1, "green")
    said = [verdict(record, False), verdict(record, True, revision=2), verdict(other, True, label="green")]
    found, waiting = readings([record, other], said, "red", 9)
    assert ([each.right for each in found], waiting) == ([True], 0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.make(tmp_path_factory.mktemp("data"))


def sampled_rules(bundle: Bundle, thresholds: dict[str, float]) -> Rules:
    heads = bundle.manifest.heads
    return bundles.sealed(
        store.assist_rules(bundle.digest, bundle.manifest, "cpu", "default"),
        classes={
            label: ClassRule(
                state="assist",
                veto=0.5,
                sampling=Sampling(threshold=thresholds[label], probability=0.5) if label in thresholds else None,
            )
            if label in heads
            else ClassRule(state="human")
            for label in bundle.manifest.labels.ids
        },
    )


def drawn_from(scores: Scores, old: Rules, bundle: Bundle, seed: int) -> dict[str, Evidence]:
    """Half of the images on which each sampled class would fire, with the truth of that class alone."""
    would = would_fire(DecisionTable.build(old, bundle.manifest), scores.probability, scores.typicality)
    rng, found = np.random.default_rng(seed), {}
    for k, label in enumerate(bundle.manifest.heads):
        if old.classes[label].sampling is None:
            continue
        rows = np.flatnonzero(would[:, k] & (rng.random(len(scores)) < 0.5))
        truth = np.full((len(rows), 3), UNKNOWN, np.int8)
        truth[:, k] = scores.truth[rows, k]
        found[label] = Evidence(Scores((), scores.probability[rows], scores.typicality[rows], truth, 0), 0)
    return found


def test_the_promise_holds_over_many_draws(bundle: Bundle) -> None:
    """In at most delta of all acts is any class certified on firings alone below its target on the population."""
    world = population(60_000, seed=999)
    old = sampled_rules(bundle, {"red": 0.5, "green": 0.6})
    broken = certified = 0
    runs = 100
    for seed in range(runs):
        found = drawn_from(population(2500, 5000 + seed), old, bundle, seed)
        made = from_log.certify(bundle, KNOBS, old, population(700, seed), found, NOW)
        done = evaluate(bundle, made, world)
        automatic = [label for label, rule in made.classes.items() if rule.state == "automatic"]
        certified += len(automatic)
        broken += any(done.classes[label].wrong > 0.05 * done.classes[label].answered for label in automatic)
    assert certified > runs / 2
    assert broken / runs <= KNOBS.delta


def test_a_rare_class_gets_its_plan_and_then_its_certificate(bundle: Bundle) -> None:
    """One image in a hundred shows it: certification images are too few, its firings in operation are not."""

    def stream(n: int, seed: int) -> Scores:
        rng = np.random.default_rng(seed)
        kind = rng.choice(3, n, p=[0.01, 0.495, 0.495])
        truth = (kind[:, None] == np.arange(3)).astype(np.int8)
        logit = rng.normal(-5.0, 1.0, (n, 3)) + truth * rng.normal(8.5, 1.5, (n, 1))
        return Scores((), (1 / (1 + np.exp(-logit))).astype(np.float32), np.ones(n, np.float32), truth, 0)

    tune = stream(6000, 0)
    old = certify(bundle, _recipe(), {}, tune, stream(3000, 1), NOW)
    rule = old.classes["red"]
    assert rule.state == "assist"
    assert rule.sampling is not None
    assert "let it gather evidence in operation: " in rule.lacks
    found = drawn_from(stream(40_000, 2), old, bundle, 3)
    made = from_log.certify(bundle, KNOBS, old, tune, found, NOW)
    proof = made.classes["red"].certificate
    assert proof is not None
    assert proof.drawn == "firings"
    assert proof.images == len(found["red"].scores) < 400
    assert made.classes["green"] == old.classes["green"], "older certificates stand as they were"
    assert from_log.risk(made) == pytest.approx(from_log.risk(old) + proof.level)
    assert from_log.risk(made) <= 2 * KNOBS.delta


def test_too_few_readings_certify_nothing_and_say_so(bundle: Bundle) -> None:
    old = sampled_rules(bundle, {"red": 0.5})
    found = drawn_from(population(40, 1), old, bundle, 0)
    made = from_log.certify(bundle, KNOBS, old, population(700, 0), found, NOW)
    assert made.classes["red"].state == "assist"
    assert made.classes["red"].lacks.startswith(f"after {len(found['red'].scores)} blind readings: ")
    assert made.classes["red"].sampling == old.classes["red"].sampling


def write_log(folder: Path, records: list[PredictionRecord], verdicts: list[VerdictRecord]) -> Path:
    for table, rows in (("predictions", records), ("verdicts", verdicts)):
        (folder / table / "date=2026-01-01").mkdir(parents=True)
        made = pa.Table.from_pylist([to_row(row) for row in rows], arrow_schema(table))
        pq.write_table(made, folder / table / "date=2026-01-01" / "node-0.parquet")
    return folder


def operated(trained: Trained, tmp_path: Path, **changes: Any) -> tuple[Rules, Path, Path]:
    """Rules that gather evidence of red, a data folder with them, and the log of a service that read every red firing."""
    opened = trained.result.bundle
    floor = opened.manifest.gate.reject if opened.manifest.gate else 0.0
    old = bundles.sealed(
        sampled_rules(opened, {"red": 0.5}), typicality_floor=floor, project=trained.recipe.certification.project
    )
    data = tmp_path / "data"
    store.write(data, old)
    seen = score(opened, load(trained.recipe).parts["certify"], "cpu", "operating")
    would = would_fire(DecisionTable.build(old, opened.manifest), seen.probability, seen.typicality)
    k = opened.manifest.heads.index("red")
    now = int(datetime.datetime.now(datetime.UTC).timestamp() * 1e6)
    records, verdicts = [], []
    for row in np.flatnonzero(would[:, k]).tolist():
        values = {
            "at": now - 10_000 + row, "sha256": seen.images[row].name, "rules": old.digest, "bundle": opened.digest,
            "heads": opened.manifest.heads, "probability": seen.probability[row].astype("<f4").tobytes(),
            "typicality": float(seen.typicality[row]),
        }  # fmt: skip
        record = prediction(row, **{**values, **changes})
        records.append(record)
        verdicts += [verdict(record, bool(seen.truth[row, k]), reading) for reading in (1, 2)]
    return old, data, write_log(tmp_path / "log", records, verdicts)


def test_the_command_certifies_from_the_exported_log_and_not_twice_on_the_same_images(
    trained: Trained, tmp_path: Path
) -> None:
    old, data, log = operated(trained, tmp_path)
    called = ["--data", str(data), "--recipe", str(trained.file), "--from-log", str(log), "--rules", old.digest]
    done = CliRunner().invoke(commands.certify, [str(trained.result.bundle.folder), *called, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output[done.output.index("{") :])
    made = store.find(data, told["digest"])
    proof = made.classes["red"].certificate
    assert proof is not None, made.classes["red"].lacks
    assert proof.drawn == "firings"
    assert proof.target == trained.recipe.certification.target
    assert made.classes["green"] == old.classes["green"]
    again = CliRunner().invoke(commands.certify, [str(trained.result.bundle.folder), *called, "--target", "0.7"])
    assert again.exit_code == 1
    assert "have certified" in again.output


def test_half_an_option_is_a_usage_error(trained: Trained, tmp_path: Path) -> None:
    done = CliRunner().invoke(commands.certify, ["colours/1", "--from-log", str(tmp_path)])
    assert done.exit_code == 2
    assert "--from-log FOLDER goes with --rules DIGEST" in done.output


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"site": "elsewhere"}, "was made elsewhere or otherwise than the rules"),
        ({"provider": "cuda"}, "was made elsewhere or otherwise than the rules"),
        ({"typicality": 0.0, "probability": np.zeros(3, "<f4").tobytes()}, "would not fire on the prediction"),
    ],
    ids=str,
)
def test_a_log_of_something_else_is_refused(
    trained: Trained, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    old, data, log = operated(trained, tmp_path, **changes)
    with pytest.raises(DataError, match=says):
        from_log.run(trained.result.bundle, trained.recipe, data, log, old.digest)


def test_a_folder_that_is_no_log_and_rules_that_gather_nothing_are_refused(trained: Trained, tmp_path: Path) -> None:
    old, data, _ = operated(trained, tmp_path)
    with pytest.raises(
        DataError, match="holds no predictions; name a folder that `secondreader log export` has written"
    ):
        from_log.run(trained.result.bundle, trained.recipe, data, tmp_path, old.digest)
    plain = bundles.sealed(old, classes={k: v.model_copy(update={"sampling": None}) for k, v in old.classes.items()})
    store.write(data, plain)
    with pytest.raises(DocumentError, match="have no class that gathers evidence"):
        from_log.run(trained.result.bundle, trained.recipe, data, tmp_path, plain.digest)
