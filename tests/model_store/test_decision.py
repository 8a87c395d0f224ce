"""The decision against a slow reference written from its prose, and the invariants that people rely on."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.decision import Decisions, DecisionTable, decide, stopped, would_fire
from model_store.labels import Group, Label, LabelSchema
from model_store.manifest import ImageSpec, Manifest, Provenance
from model_store.rules import ClassRule, Rules, Sampling
from tests import bundles

WHEN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DIGEST = "sha256:" + "0" * 64
CERTIFICATE = bundles.certificate()
ABSENCE = bundles.absence()
FIELDS = ("fires", "absent", "answerable", "atypical", "conflict", "undecided_label")


@dataclass(frozen=True)
class Case:
    """A schema with its rules, and scores of N images."""

    manifest: Manifest
    rules: Rules
    probability: np.ndarray[Any, np.dtype[np.float32]]
    typicality: np.ndarray[Any, np.dtype[np.float32]]

    @property
    def table(self) -> DecisionTable:
        return DecisionTable.build(self.rules, self.manifest)

    @property
    def decisions(self) -> Decisions:
        return decide(self.table, self.probability, self.typicality)


def manifest_of(schema: LabelSchema, heads: tuple[str, ...]) -> Manifest:
    return Manifest(
        name="m", version="1", labels=schema, heads=heads, image=ImageSpec(height=8, width=8), embedding=1,
        graph_digest=DIGEST, opset=18,
        provenance=Provenance(created_at=WHEN, code_version="test", data_fingerprint="none"),
    )  # fmt: skip


def rules_of(schema: LabelSchema, classes: dict[str, ClassRule], floor: float) -> Rules:
    return bundles.sealed(
        bundle=DIGEST, labels=schema.digest, sites=("here",), provider="cpu", precision="fp32",
        typicality_floor=floor, classes=classes,
    )  # fmt: skip


def reference(case: Case, row: int) -> dict[str, Any]:
    """The rules of decision.py's docstring and Decisions' fields, image by image and label by label, in loops."""
    schema, heads, rules = case.manifest.labels, case.manifest.heads, case.rules.classes
    score = {head: np.float32(case.probability[row, column]) for column, head in enumerate(heads)}
    typical = bool(case.typicality[row] >= np.float32(case.rules.typicality_floor))
    kind = {group.id: group.kind for group in schema.groups}
    fires: dict[str, bool] = {}
    absent: dict[str, bool] = {}
    conflict = False
    for head in heads:
        rule = rules[head]
        group = schema[head].group
        reaches = rule.state == "automatic" and bool(score[head] >= np.float32(rule.threshold or 0))
        stopped = False
        if kind[group] == "exclusive":
            for other in schema.members(group):
                if other != head and other in heads and not score[other] < np.float32(rules[other].veto):
                    stopped = True
        fires[head] = typical and reaches and not stopped
        conflict = conflict or (reaches and stopped)
        below = rule.absent_below
        absent[head] = bool(
            kind[group] == "independent" and below is not None and score[head] < np.float32(below) and typical
        )
    answerable = True
    undecided_label = False
    for g in schema.groups:
        members = schema.members(g.id)
        if g.kind == "exclusive" or g.decided_by == "any_present":
            decided = any(fires.get(member, False) for member in members)
        else:
            decided = all(fires.get(member, False) or absent.get(member, False) for member in members)
        if g.required and not decided:
            answerable = False
            with_head = any(member in heads for member in members)
            if g.kind == "independent" and g.decided_by == "each_decided" and with_head:
                undecided_label = True
    return {
        "fires": [fires[head] for head in heads],
        "absent": [absent[head] for head in heads],
        "answerable": answerable,
        "atypical": not typical,
        "conflict": conflict,
        "undecided_label": undecided_label,
    }


CUTS = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]


def near(value: float) -> list[np.float32]:
    """The float32 of a cut, its two neighbours: the places where a comparison can be wrong."""
    at = np.float32(value)
    around = (at, np.nextafter(at, np.float32(2)), np.nextafter(at, np.float32(-1)))
    return [np.float32(x) for x in around if 0 <= x <= 1]


SCORES = st.one_of(st.sampled_from([x for cut in CUTS for x in near(cut)]), st.floats(0, 1, width=32).map(np.float32))


@st.composite
def class_rules(draw: st.DrawFn, has_head: bool) -> ClassRule:
    if not has_head:
        return ClassRule(state="human")
    automatic = draw(st.booleans())
    threshold = draw(st.sampled_from(CUTS))
    sampling = Sampling(threshold=draw(st.sampled_from(CUTS)), probability=0.5)
    below = draw(st.one_of(st.none(), st.sampled_from([cut for cut in CUTS if cut <= threshold])))
    return ClassRule(
        state="automatic" if automatic else "assist",
        threshold=threshold if automatic else draw(st.sampled_from([None, threshold])),
        veto=draw(st.sampled_from([*CUTS, 2.0])),
        absent_below=below,
        certificate=CERTIFICATE if automatic else None,
        absence=None if below is None else ABSENCE,
        sampling=None if automatic else draw(st.sampled_from([None, sampling])),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    required = draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    groups = tuple(
        Group(
            id=f"g{index}",
            kind=draw(st.sampled_from(["exclusive", "independent"])),
            decided_by=draw(st.sampled_from(["any_present", "each_decided"])),
            required=is_required or not any(required),
        )
        for index, is_required in enumerate(required)
    )
    labels = [Label(id=f"l{g}.{n}", name="x", group=f"g{g}") for g, size in enumerate(sizes) for n in range(size)]
    schema = LabelSchema(labels=tuple(draw(st.permutations(labels))), groups=groups)
    heads = [label for label in schema.ids if draw(st.integers(0, 5))] or [schema.ids[0]]
    classes = {label: draw(class_rules(label in heads)) for label in schema.ids}
    rules = rules_of(schema, classes, draw(st.sampled_from(CUTS)))
    count = draw(st.integers(0, 6))
    columns = len(heads)
    flat = draw(st.lists(SCORES, min_size=count * (columns + 1), max_size=count * (columns + 1)))
    scores = np.array(flat, np.float32).reshape(count, columns + 1)
    manifest = manifest_of(schema, tuple(draw(st.permutations(heads))))
    return Case(manifest, rules, scores[:, 1:].copy(), scores[:, 0].copy())


@given(cases())
@settings(max_examples=400, deadline=None)
def test_the_table_decides_as_the_prose_says(case: Case) -> None:
    decisions = case.decisions
    for row in range(len(case.typicality)):
        expected = reference(case, row)
        for field in FIELDS:
            assert getattr(decisions, field)[row].tolist() == expected[field], field


@given(cases())
@settings(max_examples=150, deadline=None)
def test_a_batch_is_its_rows_one_by_one(case: Case) -> None:
    whole = case.decisions
    for row in range(len(case.typicality)):
        alone = decide(case.table, case.probability[row : row + 1], case.typicality[row : row + 1])
        for field in FIELDS:
            assert np.array_equal(getattr(alone, field)[0], getattr(whole, field)[row])
        assert alone.reasons(0) == whole.reasons(row)


@given(cases(), st.data())
@settings(max_examples=200, deadline=None)
def test_suspending_a_class_never_changes_when_another_fires(case: Case, data: st.DataObject) -> None:
    suspended = frozenset(data.draw(st.sets(st.sampled_from(case.manifest.heads))))
    before, after = case.decisions, decide(case.table.without(suspended), case.probability, case.typicality)
    for column, head in enumerate(case.manifest.heads):
        expected = np.zeros_like(before.fires[:, column]) if head in suspended else before.fires[:, column]
        assert np.array_equal(after.fires[:, column], expected)
        unheard = np.zeros_like(expected) if head in suspended else before.absent[:, column]
        assert np.array_equal(after.absent[:, column], unheard)
    assert not (after.answerable & ~before.answerable).any(), "fewer automatic classes answered more"


@given(cases(), st.data())
@settings(max_examples=100, deadline=None)
def test_stricter_rules_never_answer_more(case: Case, data: st.DataObject) -> None:
    """A higher threshold, a lower veto or a higher floor can only take answers away."""
    table = case.table
    column = data.draw(st.integers(0, len(case.manifest.heads) - 1))
    up, down = np.zeros(len(case.manifest.heads), np.float32), np.ones(len(case.manifest.heads), np.float32)
    up[column], down[column] = 0.2, 0.5
    stricter = [
        replace(table, threshold=(table.threshold + up).astype(np.float32)),
        replace(table, veto=(table.veto * down).astype(np.float32)),
        replace(table, floor=np.float32(table.floor + np.float32(0.2))),
    ]
    for other in stricter:
        after = decide(other, case.probability, case.typicality)
        assert not (after.fires & ~case.decisions.fires).any()
        assert not (after.answerable & ~case.decisions.answerable).any()


@given(cases())
@settings(max_examples=150, deadline=None)
def test_certification_sweeps_over_what_would_fire(case: Case) -> None:
    """Reaching a threshold, being typical and not `stopped` is firing, so what is certified is what runs."""
    table = case.table
    rows, columns = np.indices(case.probability.shape).reshape(2, -1)
    free = ~stopped(table, case.probability, rows, columns).reshape(case.probability.shape)
    swept = free & (case.typicality >= table.floor)[:, None] & (case.probability >= table.threshold)
    assert np.array_equal(swept & table.automatic, case.decisions.fires)


@given(cases())
@settings(max_examples=200, deadline=None)
def test_would_fire_is_firing_as_if_every_class_were_automatic(case: Case) -> None:
    """At the sampling threshold where there is one, else at the threshold; a class with neither never would."""
    would = would_fire(case.table, case.probability, case.typicality)
    freed = {}
    for label, rule in case.rules.classes.items():
        threshold = rule.sampling.threshold if rule.sampling else rule.threshold
        if threshold is None:
            freed[label] = rule
        else:
            freed[label] = ClassRule(state="automatic", threshold=threshold, veto=rule.veto, certificate=CERTIFICATE)
    every = replace(case, rules=case.rules.model_copy(update={"classes": freed}))
    for row in range(len(case.typicality)):
        assert would[row].tolist() == reference(every, row)["fires"]
    assert not (case.decisions.fires & ~would).any()


@given(cases())
@settings(max_examples=150, deadline=None)
def test_reasons_are_given_exactly_when_there_is_no_answer(case: Case) -> None:
    decisions = case.decisions
    for row in range(len(case.typicality)):
        reasons = decisions.reasons(row)
        assert (reasons == ()) == bool(decisions.answerable[row])
        assert len(set(reasons)) == len(reasons)
        if reasons:
            assert ("none_fired" in reasons) == (not decisions.fires[row].any())
            assert ("atypical" in reasons) == bool(decisions.atypical[row])


@given(cases())
@settings(max_examples=100, deadline=None)
def test_nothing_is_both_present_and_absent(case: Case) -> None:
    assert not (case.decisions.fires & case.decisions.absent).any()


def exclusive(**rules: ClassRule) -> tuple[DecisionTable, LabelSchema]:
    schema = LabelSchema(labels=tuple(Label(id=name, name=name) for name in rules))
    manifest = manifest_of(schema, tuple(name for name, rule in rules.items() if rule.state != "human"))
    return DecisionTable.build(rules_of(schema, rules, 0.5), manifest), schema


AUTOMATIC = ClassRule(state="automatic", threshold=0.9, veto=0.4, certificate=CERTIFICATE)
ASSIST = ClassRule(state="assist", veto=0.4)


def one(table: DecisionTable, *probability: float, typicality: float = 1.0) -> Decisions:
    return decide(table, np.array([probability], np.float32), np.array([typicality], np.float32))


def test_exactly_at_a_line_counts_as_reaching_it() -> None:
    table, _ = exclusive(a=AUTOMATIC, b=ASSIST)
    below = float(np.nextafter(np.float32(0.9), np.float32(0)))
    assert one(table, 0.9, 0).fires[0, 0]
    assert not one(table, below, 0).fires[0, 0]
    assert not one(table, 0.9, 0.4).fires[0, 0], "a veto at its line stops"
    assert one(table, 0.9, float(np.nextafter(np.float32(0.4), np.float32(0)))).fires[0, 0]
    assert one(table, 0.9, 0, typicality=0.5).fires[0, 0]
    assert not one(table, 0.9, 0, typicality=float(np.nextafter(np.float32(0.5), np.float32(0)))).fires[0, 0]


def test_an_assist_class_vetoes_too_and_the_reason_is_a_conflict() -> None:
    table, _ = exclusive(a=AUTOMATIC, b=ASSIST)
    assert one(table, 0.95, 0.6).reasons(0) == ("conflict", "none_fired")


def test_a_class_does_not_veto_itself() -> None:
    table, _ = exclusive(a=AUTOMATIC)
    assert one(table, 0.95).answerable[0]


@pytest.mark.parametrize("other", [AUTOMATIC, ASSIST])
def test_a_score_that_is_nan_neither_fires_nor_lets_another_fire(other: ClassRule) -> None:
    """p_j < veto_j does not hold for NaN: whatever broke one column may have broken the next."""
    table, _ = exclusive(a=AUTOMATIC, b=other)
    assert not one(table, 0.95, float("nan")).fires.any()
    assert not one(table, float("nan"), 0.95).fires[0, 0]
    assert not one(table, 0.95, 0, typicality=float("nan")).fires.any()
    assert one(table, 0.95, 0, typicality=float("nan")).atypical[0]


def test_a_required_group_without_a_head_keeps_everything_with_people() -> None:
    schema = LabelSchema(
        labels=(Label(id="a", name="a"), Label(id="b", name="b", group="hand")), groups=(Group(), Group(id="hand"))
    )
    rules = rules_of(schema, {"a": AUTOMATIC, "b": ClassRule(state="human")}, 0)
    decisions = one(DecisionTable.build(rules, manifest_of(schema, ("a",))), 0.99)
    assert decisions.fires[0, 0]
    assert not decisions.answerable[0]
    assert decisions.reasons(0) == ("undecided_label",)


def test_each_decided_waits_for_every_member_and_any_present_for_one() -> None:
    for decided_by, waits in (("each_decided", True), ("any_present", False)):
        schema = LabelSchema.model_validate(
            {
                "labels": [{"id": "device", "name": "d"}, {"id": "pneumothorax", "name": "p"}],
                "groups": [{"id": "main", "kind": "independent", "decided_by": decided_by}],
            }
        )
        finding = ClassRule(
            state="automatic", threshold=0.9, absent_below=0.05, certificate=CERTIFICATE, absence=ABSENCE
        )
        classes = {"device": finding, "pneumothorax": finding}
        table = DecisionTable.build(rules_of(schema, classes, 0), manifest_of(schema, schema.ids))
        unread = one(table, 0.99, 0.4)
        assert unread.answerable[0] != waits
        assert unread.reasons(0) == (("undecided_label",) if waits else ())
        assert one(table, 0.99, 0.01).answerable[0]
        assert one(table, 0.01, 0.01).answerable[0] == waits, "all absent decides each_decided alone"


def test_a_thousand_classes_give_the_same_as_the_reference() -> None:
    schema = LabelSchema(
        labels=tuple(Label(id=f"c{n}", name="c", group=f"g{n % 7}") for n in range(1000)),
        groups=tuple(Group(id=f"g{n}", required=n == 0) for n in range(7)),
    )
    classes = {label: (AUTOMATIC if index % 3 else ASSIST) for index, label in enumerate(schema.ids)}
    rng = np.random.default_rng(3)
    probability = (rng.random((2, 1000)) * 0.39).astype(np.float32)
    probability[np.arange(2), [1, 500]] = 0.95
    case = Case(manifest_of(schema, schema.ids), rules_of(schema, classes, 0.2), probability, np.ones(2, np.float32))
    decisions = case.decisions
    for row in range(2):
        assert decisions.fires[row].tolist() == reference(case, row)["fires"]
    assert decisions.fires.any()


def test_vetoes_only_reach_inside_their_group() -> None:
    schema = LabelSchema(
        labels=(Label(id="a", name="a"), Label(id="b", name="b", group="other")), groups=(Group(), Group(id="other"))
    )
    table = DecisionTable.build(rules_of(schema, {"a": AUTOMATIC, "b": AUTOMATIC}, 0), manifest_of(schema, ("b", "a")))
    both = np.array([[0.95, 0.95]], np.float32)
    assert not stopped(table, both, np.array([0, 0]), np.array([0, 1])).any()
    assert decide(table, both, np.ones(1, np.float32)).fires.all()
