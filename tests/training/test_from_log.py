"""Certificates from what people read in operation: the same promise, on images drawn among a class's firings."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from model_store import rules as store
from model_store.bundle import Bundle
from model_store.decision import DecisionTable, would_fire
from model_store.errors import DocumentError
from model_store.record import PolicySnapshot, PredictionRecord, VerdictRecord, arrow_schema, to_row
from model_store.rules import ClassRule, Rules, Sampling
from tests import bundles
from tests.training.conftest import Trained
from tests.training.populations import KNOBS, NOW, population, recipe_for
from training import acts, commands, firings, from_log, ledger
from training.binomial import allowed_errors
from training.certify import certify
from training.data import load
from training.errors import DataError
from training.evaluate import evaluate
from training.gathered import Evidence
from training.images import UNKNOWN, from_bytes
from training.readings import OVERDUE_DAYS, Reading, read, readings
from training.score import Scores, score
from training.taken import take

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


def ends(*said: tuple[bool, ...], now: int = 100) -> list[bool | None]:
    """What becomes of drawn images, each with the answers of its readers in turn."""
    drawn = [prediction(index) for index in range(len(said))]
    verdicts = [
        verdict(record, present, reading + 1)
        for record, answers in zip(drawn, said, strict=True)
        for reading, present in enumerate(answers)
    ]
    return [each.right for each in readings(drawn, verdicts, "red", now)]


def test_only_what_every_reader_confirms_is_right() -> None:
    assert ends((True,), (False, True), (False, False), (False,), ()) == [True, False, False, False, None]
    assert ends((True,), (), now=OVERDUE_DAYS * DAY + 100) == [True, False], "overdue is wrong"


def test_what_is_read_when_it_was_overdue_stays_wrong() -> None:
    record = prediction(0)
    late = verdict(record, True, at=OVERDUE_DAYS * DAY + 1)
    assert [each.right for each in readings([record], [late], "red", OVERDUE_DAYS * DAY + 2)] == [False]
    assert [each.right for each in readings([record], [late], "red", OVERDUE_DAYS * DAY)] == [None]


def test_a_class_waits_for_the_second_reader_whom_another_class_has_called() -> None:
    record = prediction(0, drawn=("red", "green"))
    first = verdict(record, True, doubts=("green",))
    assert [each.right for each in readings([record], [first], "red", 9)] == [None]
    alone = verdict(record, True, doubts=("green",), second_reader=False)
    assert [each.right for each in readings([record], [alone], "red", 9)] == [True]
    for present in (True, False):
        said = [first, verdict(record, present, 2)]
        assert [each.right for each in readings([record], said, "red", 9)] == [present], "a split vote proves nothing"


def test_readings_of_a_recall_say_nothing() -> None:
    record = prediction(0)
    said = [verdict(record, True), verdict(record, False, 2, purpose="recall")]
    assert [each.right for each in readings([record], said, "red", 9)] == [True]
    assert [each.right for each in readings([record], said[1:], "red", 9)] == [None]


def test_a_revised_answer_replaces_the_first_and_another_class_is_not_evidence() -> None:
    record, other = prediction(0), prediction(1, "green")
    said = [verdict(record, False), verdict(record, True, revision=2), verdict(other, True, label="green")]
    assert [each.right for each in readings([record, other], said, "red", 9)] == [True]


@pytest.mark.parametrize(
    "other",
    [
        {"gold": True, "purpose": "gold"},
        {"adjudicated": True, "drawn": (), "reading": 2},
        {"drawn": (), "reading": 3, "agreed": {"red": "absent"}, "agreed_outcome": "labels"},
        {"revision": 2, "amends": "v", "corrects": True, "drawn": ()},
    ],
)
def test_what_decides_about_the_image_is_no_evidence_about_the_model(other: dict[str, Any]) -> None:
    record = prediction(0)
    first = verdict(record, True)
    said = [first, verdict(record, False, **{"id": first.id if "amends" in other else "v", **other})]
    assert [each.right for each in readings([record], said, "red", 9)] == [True]
    assert [each.right for each in readings([record], said[1:], "red", 9)] == [None]


def test_an_answer_that_was_taken_back_unseen_never_counted() -> None:
    record = prediction(0)
    first = verdict(record, False)
    amended = verdict(record, True, revision=2, amends=first.id)
    for said in ([first, amended], [amended, first]):
        assert [each.right for each in readings([record], said, "red", 9)] == [True]


def test_a_confirmation_that_was_taken_back_unseen_proves_nothing() -> None:
    """Where one reader is enough, the doubt that takes its place corrects the model, too."""
    record = prediction(0)
    first = verdict(record, True, second_reader=False)
    amended = verdict(
        record, False, revision=2, amends=first.id, corrects=True, doubts=("red",), second_reader=False, at=3
    )
    for said in ([first, amended], [amended, first]):
        assert [each.right for each in readings([record], said, "red", 9)] == [False]


def test_of_two_who_read_as_the_same_reader_the_earlier_counts_as_for_the_monitor() -> None:
    """A lost index had asked a second person."""
    record = prediction(0)
    said = [verdict(record, False, id="b", at=2), verdict(record, True, id="a", at=3)]
    for order in (said, said[::-1]):
        assert [each.right for each in readings([record], order, "red", 9)] == [False]


def test_images_of_which_nothing_could_be_drawn_are_not_counted_among_those_that_came(tmp_path: Path) -> None:
    mine: dict[str, Any] = {"rules": "r", "drawn": ()}
    live = PolicySnapshot(mode="live")
    records = [
        prediction(0, rules="r"),
        prediction(1, **mine),
        prediction(2, **mine, origin="backfill"),
        prediction(3, **mine, policy=PolicySnapshot(mode="live", control_stale=True)),
        prediction(4, **mine, policy=PolicySnapshot(mode="live", case="open")),
        prediction(5, **mine, policy=PolicySnapshot(mode="live", case="open")),
        prediction(5, **mine, policy=PolicySnapshot(mode="live", case="together"), revision=2),
        prediction(5, **mine, policy=live, revision=3),
    ]
    assert read(write_log(tmp_path, records, []), {"r"}, {"default"}).seen["r"].tolist() == [0, 1, 5]


def test_who_leaves_it_to_an_adjudicator_does_not_confirm() -> None:
    record = prediction(0)
    left = verdict(record, True, outcome="escalated", answers={}, doubts=("red",))
    assert [each.right for each in readings([record], [left, verdict(record, True, 2)], "red", 9)] == [False]


def test_a_class_is_tested_on_exactly_the_first_reads_of_its_plan_one_a_case() -> None:
    cases = ["a", None, "a", "b", None, "b", "c", None]
    drawn = [prediction(index, case=case) for index, case in enumerate(cases)]
    drawn[4] = prediction(4, sha256=drawn[1].sha256)  # the same bytes, sent again
    found = [Reading(record, True if index != 6 else None) for index, record in enumerate(drawn)]
    taken = take(found, 3, ())
    assert [each.record.id[-1] for each in taken.readings] == ["0", "1", "3"]
    assert (taken.missing, taken.settled) == (0, 3)
    assert take(found[::1] + [Reading(prediction(9), False)] * 3, 3, ()).readings == taken.readings, (
        "what follows is no matter"
    )
    assert [each.record.id[-1] for each in take(found, 3, {drawn[0].sha256}).readings] == ["1", "3", "6"], (
        "nor its case"
    )
    assert take(found, 5, ()).missing == 1, "one is open"
    assert take(found, 9, ()).missing == 5
    sites = [Reading(prediction(index, case="a", site=site), True) for index, site in enumerate(("here", "there"))]
    assert len(take(sites, 2, ()).readings) == 2, "a case's name means the same within its site"


def test_a_fixed_number_of_readings_keeps_the_promise_that_stopping_when_it_looks_good_breaks() -> None:
    """Answers are right in .945 of cases, the target is .95: a test of fixed size passes in at most delta of the runs."""
    rng, runs, level = np.random.default_rng(0), 400, 0.1
    sizes = np.arange(30, 500)
    stopped = fixed = 0
    for _ in range(runs):
        found = [Reading(prediction(index), bool(right)) for index, right in enumerate(rng.random(500) < 0.945)]
        wrong = np.cumsum([not each.right for each in found])[sizes - 1]
        stopped += bool((wrong <= allowed_errors(sizes, 0.95, level)).any())
        taken = take(found, 200, ())
        errors = sum(not each.right for each in taken.readings)
        fixed += errors <= int(allowed_errors(len(taken.readings), 0.95, level))
    assert stopped / runs > 2 * level
    assert fixed / runs <= level


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.make(tmp_path_factory.mktemp("data"))


def sampled_rules(bundle: Bundle, thresholds: dict[str, float], reads: int = 100) -> Rules:
    heads = bundle.manifest.heads
    return bundles.sealed(
        store.assist_rules(bundle.digest, bundle.manifest, "cpu", "default"),
        classes={
            label: ClassRule(
                state="assist",
                veto=0.5,
                sampling=Sampling(threshold=thresholds[label], probability=0.5, reads=reads)
                if label in thresholds
                else None,
            )
            if label in heads
            else ClassRule(state="human")
            for label in bundle.manifest.labels.ids
        },
    )


def drawn_from(scores: Scores, old: Rules, bundle: Bundle, seed: int) -> dict[str, Evidence]:
    """What is drawn of the images on which each sampled class would fire, with the truth of that class alone."""
    would = would_fire(DecisionTable.build(old, bundle.manifest), scores.probability, scores.typicality)
    rng, found = np.random.default_rng(seed), {}
    for k, label in enumerate(bundle.manifest.heads):
        plan = old.classes[label].sampling
        if plan is None:
            continue
        rows = np.flatnonzero(would[:, k] & (rng.random(len(scores)) < plan.probability))[: plan.reads]
        truth = np.full((len(rows), 3), UNKNOWN, np.int8)
        truth[:, k] = scores.truth[rows, k]
        found[label] = Evidence(Scores((), scores.probability[rows], scores.typicality[rows], truth, 0))
    return found


def test_the_promise_holds_over_many_draws(bundle: Bundle) -> None:
    """In at most delta of all acts is any class certified on firings alone below its target on the population."""
    world = population(60_000, seed=999)
    old = sampled_rules(bundle, {"red": 0.5, "green": 0.6}, reads=300)
    broken = certified = 0
    runs = 100
    for seed in range(runs):
        found = drawn_from(population(2500, 5000 + seed), old, bundle, seed)
        made = firings.certify(bundle, KNOBS, old, population(700, seed), found, NOW)
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
    old = certify(bundle, recipe_for(), {}, tune, stream(3000, 1), NOW)
    rule = old.classes["red"]
    assert rule.state == "assist"
    assert rule.sampling is not None
    assert "let it gather evidence in operation: " in rule.lacks
    found = drawn_from(stream(150_000, 2), old, bundle, 3)
    assert len(found["red"].scores) == rule.sampling.reads, "a plan that the stream fulfils"
    made = firings.certify(bundle, KNOBS, old, tune, found, NOW, attempt=1)
    proof = made.classes["red"].certificate
    assert proof is not None
    assert proof.drawn == "firings"
    assert proof.images == rule.sampling.reads < 400
    assert (proof.attempt, proof.delta) == (1, KNOBS.delta / 2)
    assert made.classes["green"] == old.classes["green"], "older certificates stand as they were"


def test_trying_again_and_again_stays_below_twice_delta(bundle: Bundle) -> None:
    """A class that is right in .945 of its answers, tried six times on fresh readings: halved, and with the whole delta."""

    def stream(n: int, seed: int) -> Scores:
        rng = np.random.default_rng(seed)
        truth = np.zeros((n, 3), np.int8)
        truth[:, 0] = rng.random(n) < 0.945
        probability = np.full((n, 3), 0.01, np.float32)
        probability[:, 0] = 0.9
        return Scores((), probability, np.ones(n, np.float32), truth, 0)

    old, knobs = sampled_rules(bundle, {"red": 0.5}, reads=105), dataclasses.replace(KNOBS, min_chance=1e-9)
    tune, runs = stream(700, 0), 80
    broken = {True: 0, False: 0}
    for halved in broken:
        for run in range(runs):
            seeds = range(1 + 6 * run, 7 + 6 * run)
            acts = (
                firings.certify(
                    bundle,
                    knobs,
                    old,
                    tune,
                    drawn_from(stream(300, seed), old, bundle, 9000 + seed),
                    NOW,
                    k if halved else 0,
                )
                for k, seed in enumerate(seeds)
            )
            broken[halved] += any(made.classes["red"].certificate for made in acts)
    assert broken[False] / runs > 2 * KNOBS.delta
    assert broken[True] / runs <= 2 * KNOBS.delta


def test_readings_that_prove_nothing_say_so_and_the_next_plan_is_for_the_next_attempt(bundle: Bundle) -> None:
    old = sampled_rules(bundle, {"red": 0.5}, reads=60)
    found = drawn_from(population(800, 1), old, bundle, 0)
    made = firings.certify(bundle, dataclasses.replace(KNOBS, min_chance=0.0), old, population(700, 0), found, NOW)
    assert made.classes["red"].state == "assist"
    assert made.classes["red"].lacks.startswith("after 60 blind readings: ")
    plan, before = made.classes["red"].sampling, old.classes["red"].sampling
    assert plan is not None
    assert before is not None
    assert plan == before.model_copy(update={"reads": plan.reads})
    assert plan.reads is not None
    assert plan.reads > 60


def write_log(folder: Path, records: list[PredictionRecord], verdicts: list[VerdictRecord]) -> Path:
    for table, rows in (("predictions", records), ("verdicts", verdicts)):
        (folder / table / "date=2026-01-01").mkdir(parents=True)
        made = pa.Table.from_pylist([to_row(row) for row in rows], arrow_schema(table))
        pq.write_table(made, folder / table / "date=2026-01-01" / "node-0.parquet")
    return folder


READS = 12
"""What the test's log suffices for more than twice."""


@dataclasses.dataclass
class Operated:
    """Rules that gather evidence of red, a data folder with them, and what a service wrote that read every red firing."""

    trained: Trained
    old: Rules
    data: Path
    records: list[PredictionRecord]
    verdicts: list[VerdictRecord]

    def certify(self, name: str = "log", rules: Rules | None = None, **knobs: Any) -> from_log.Made:
        log = self.data.parent / name
        if not log.exists():
            write_log(log, self.records, self.verdicts)
        certification = dataclasses.replace(self.trained.recipe.certification, **knobs)
        recipe = dataclasses.replace(self.trained.recipe, certification=certification)
        return from_log.run(self.trained.result.bundle, recipe, self.data, log, (rules or self.old).digest)


@pytest.fixture
def operated(trained: Trained, tmp_path: Path) -> Operated:
    opened = trained.result.bundle
    floor = opened.manifest.gate.reject if opened.manifest.gate else 0.0
    old = bundles.sealed(
        sampled_rules(opened, {"red": 0.5, "green": 0.5}, READS),
        typicality_floor=floor,
        project=trained.recipe.certification.project,
    )
    data = tmp_path / "data"
    store.write(data, old)
    seen = score(opened, load(trained.recipe, None).parts["certify"], "cpu", "operating")
    would = would_fire(DecisionTable.build(old, opened.manifest), seen.probability, seen.typicality)
    k = opened.manifest.heads.index("red")
    now = int(datetime.datetime.now(datetime.UTC).timestamp() * 1e6)
    records, verdicts = [], []
    for row in range(len(seen)):
        record = prediction(
            row, at=now - 10_000 + row, sha256=seen.images[row].name, rules=old.digest, bundle=opened.digest,
            heads=opened.manifest.heads, probability=seen.probability[row].astype("<f4").tobytes(),
            typicality=float(seen.typicality[row]), drawn=("red",) if would[row, k] else (),
        )  # fmt: skip
        records.append(record)
        if would[row, k]:
            verdicts.append(verdict(record, bool(seen.truth[row, k])))
    assert len(verdicts) > 2 * READS
    return Operated(trained, old, data, records, verdicts)


EASY: dict[str, Any] = {"target": 0.7}


def test_the_command_certifies_from_the_exported_log(operated: Operated, tmp_path: Path) -> None:
    log, trained, old = write_log(tmp_path / "log", operated.records, operated.verdicts), operated.trained, operated.old
    called = [
        "--data",
        str(operated.data),
        "--recipe",
        str(trained.file),
        "--from-log",
        str(log),
        "--rules",
        old.digest,
    ]
    done = CliRunner().invoke(
        commands.certify, [str(trained.result.bundle.folder), *called, "--target", "0.7", "--json"]
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.output[done.output.index("{") :])
    made = store.find(operated.data, told["digest"])
    proof = made.classes["red"].certificate
    assert proof is not None, made.classes["red"].lacks
    drawn = [record for record in operated.records if record.drawn]
    assert (proof.drawn, proof.images, proof.attempt, proof.target) == ("firings", READS, 0, 0.7)
    assert proof.images_from == datetime.datetime.fromtimestamp(drawn[0].received_at / 1e6, datetime.UTC)
    came = operated.records.index(drawn[READS - 1]) + 1
    assert proof.firing_share == pytest.approx(READS / 0.5 / came * proof.firings / READS)
    assert made.classes["green"] == old.classes["green"]
    assert any("not by their looks; name the folder of the service's images (--blobs)" in each for each in told["told"])
    assert "green: 0 of 12 readings are settled; it goes on gathering" in told["told"]
    again = CliRunner().invoke(commands.certify, [str(trained.result.bundle.folder), *called, "--target", "0.6"])
    assert again.exit_code == 1
    assert "have certified" in again.output


def test_done_again_it_is_the_same_act_and_whatever_was_read_since_changes_nothing(operated: Operated) -> None:
    everything = operated.records, operated.verdicts
    half = len(operated.verdicts) // 2 + 4
    until = operated.verdicts[half].prediction
    operated.records, operated.verdicts = [each for each in everything[0] if each.id <= until], everything[1][:half]
    first = operated.certify(**EASY).rules
    operated.records, operated.verdicts = everything
    assert operated.certify("longer", **EASY).rules.digest == first.digest
    amended = verdict(operated.records[[bool(each.drawn) for each in operated.records].index(True)], False, revision=2)
    operated.verdicts = [*operated.verdicts, amended]
    with pytest.raises(DataError, match="with other labels or other tuning images; put them back as they were"):
        operated.certify("amended", **EASY)


def test_too_few_settled_readings_are_one_sentence_with_the_number_that_is_missing(operated: Operated) -> None:
    operated.verdicts = operated.verdicts[: READS - 5]
    with pytest.raises(
        DataError,
        match=r"red has 7 of the 12 settled readings that its plan asks for \(5 wait for readers\); export the log again when",
    ):
        operated.certify(**EASY)
    assert not (operated.data / "uses").exists() or not acts.read(operated.data), "nothing is spent"


def test_a_second_attempt_goes_on_from_the_new_rules_with_the_next_readings_and_half_the_risk(
    operated: Operated,
) -> None:
    doubted = {each.prediction for each in operated.verdicts[:READS]}
    operated.verdicts = [verdict(record, record.id not in doubted) for record in operated.records if record.drawn]
    first = operated.certify(min_chance=0.0, **EASY).rules
    assert first.classes["red"].state == "assist"
    plan = first.classes["red"].sampling
    assert plan is not None
    bundle = operated.trained.result.bundle
    again = bundles.sealed(
        first,
        classes={
            **first.classes,
            "red": first.classes["red"].model_copy(update={"sampling": plan.model_copy(update={"reads": READS})}),
        },
    )
    store.write(operated.data, again)
    second = operated.certify("log", again, min_chance=0.0, **EASY)
    proof = second.rules.classes["red"].certificate
    assert proof is not None
    assert (proof.attempt, proof.delta, proof.errors) == (1, 0.05, 0)
    assert f"{READS} drawn images were passed over: used before" in second.told
    assert ledger.risk(operated.data, bundle.digest) == pytest.approx(0.15)
    with pytest.raises(DataError, match="would certify a model have certified"):
        operated.certify("log", operated.old, target=0.6, min_chance=0.0)


def test_images_that_taught_the_model_or_look_like_it_are_passed_over(operated: Operated) -> None:
    """Under another name of the file and the case: the blob tells."""
    recipe, bundle = operated.trained.recipe, operated.trained.result.bundle
    ledger.record_training(operated.data, load(recipe, None).parts, recipe)
    taught = next(image for image in load(recipe, None).parts["train"] if "red" in image.present)
    with Image.open(io.BytesIO(taught.encoded())) as opened:
        stream = io.BytesIO()
        opened.save(stream, "PNG")
    name = hashlib.sha256(stream.getvalue()).hexdigest()
    blobs = operated.data / "blobs" / "default" / "default"
    blobs.mkdir(parents=True)
    (blobs / name).write_bytes(stream.getvalue())
    first = next(index for index, record in enumerate(operated.records) if record.drawn)
    operated.records[first] = msgspec.structs.replace(operated.records[first], sha256=name)
    made = operated.certify(**EASY)
    assert "1 drawn images were passed over: used before" in made.told
    assert any("were not compared by their looks" in each for each in made.told)
    used = ledger.readings_of(operated.data, operated.old.digest)
    assert used is not None
    assert name not in used.names
    assert used.of["bundle"] == bundle.digest


def test_a_case_is_known_with_and_without_its_site(operated: Operated) -> None:
    operated.records = [msgspec.structs.replace(each, case=f"p{index}") for index, each in enumerate(operated.records)]
    operated.certify(**EASY)
    first = next(index for index, record in enumerate(operated.records) if record.drawn)
    use = ledger.of_bundle(operated.trained.result.bundle, operated.trained.recipe)
    for case in (f"p{first}", f"default/p{first}"):
        with pytest.raises(DataError, match="is of the same case"):
            ledger.check(operated.data, "certify", [from_bytes(b"another view", case, ())], use)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"site": "elsewhere"}, "of another site"),
        ({"provider": "cuda"}, "of another bundle, provider, precision or project"),
        ({"project": "other"}, "of another bundle, provider, precision or project"),
    ],
    ids=str,
)
def test_what_was_drawn_elsewhere_is_passed_over_and_counted(
    operated: Operated, changes: dict[str, Any], why: str
) -> None:
    first = next(index for index, record in enumerate(operated.records) if record.drawn)
    operated.records[first] = msgspec.structs.replace(operated.records[first], **changes)
    made = operated.certify(**EASY)
    assert f"1 drawn images were passed over: {why}" in made.told
    used = ledger.readings_of(operated.data, operated.old.digest)
    assert used is not None
    assert operated.records[first].sha256 not in used.names


def test_half_an_option_is_a_usage_error(trained: Trained, tmp_path: Path) -> None:
    done = CliRunner().invoke(commands.certify, ["colours/1", "--from-log", str(tmp_path)])
    assert done.exit_code == 2
    assert "--from-log FOLDER goes with --rules DIGEST" in done.output


def test_a_log_that_was_changed_is_refused(operated: Operated) -> None:
    first = next(index for index, record in enumerate(operated.records) if record.drawn)
    scores = np.zeros(3, "<f4").tobytes()
    operated.records[first] = msgspec.structs.replace(operated.records[first], probability=scores)
    with pytest.raises(DataError, match="red would not fire on the prediction"):
        operated.certify(**EASY)


def test_a_folder_that_is_no_log_and_rules_that_gather_nothing_are_refused(operated: Operated, tmp_path: Path) -> None:
    old, data, trained = operated.old, operated.data, operated.trained
    with pytest.raises(
        DataError, match="holds no predictions; name a folder that `secondreader log export` has written"
    ):
        from_log.run(trained.result.bundle, trained.recipe, data, tmp_path, old.digest)
    plain = bundles.sealed(old, classes={k: v.model_copy(update={"sampling": None}) for k, v in old.classes.items()})
    store.write(data, plain)
    with pytest.raises(DocumentError, match="have no class that gathers evidence"):
        from_log.run(trained.result.bundle, trained.recipe, data, tmp_path, plain.digest)
    classes = {
        k: v.model_copy(update={"sampling": Sampling(threshold=0.5, probability=0.5)})
        for k, v in old.classes.items()
        if k == "red"
    }
    endless = bundles.sealed(old, classes={**old.classes, **classes})
    store.write(data, endless)
    with pytest.raises(
        DocumentError, match="do not fix on how many readings red is tested; certify the bundle again, and"
    ):
        from_log.run(trained.result.bundle, trained.recipe, data, tmp_path, endless.digest)
