"""Views, finals and items are what the schemas say, for any record."""

from __future__ import annotations

import datetime
import json

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model_store.record import PolicySnapshot, PredictionRecord, Route, VerdictRecord
from tests.bundles import make, rules, schema
from tests.triage.written import MOMENT, answers, moments, text
from triage import answers as view
from triage.ids import new_id
from triage.index import views
from triage.schemas import Final, LeasedItem, PredictionBody, Suggestion

LABELS = schema()
HEADS = ("red", "green", "blue")


def _rules() -> object:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        return rules(make(Path(folder)))


RULES = _rules()


@st.composite
def predictions(draw: st.DrawFn) -> PredictionRecord:
    routes: tuple[Route, ...] = ("automatic", "review", "captured")
    scores = draw(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3))
    read = draw(st.booleans())
    route = draw(st.sampled_from(routes if read else routes[1:]))
    fires = tuple(draw(st.lists(st.sampled_from(HEADS[:2]), unique=True))) if read else ()
    return PredictionRecord(
        id=draw(text), project=draw(text), site=draw(text), case=draw(st.none() | text), received_at=draw(moments),
        sha256="0" * 64, size=1, format="PNG", width=1, height=1, route=route, fires=fires,
        model="colours/1" if read else "", graph="sha256:0" if read else "", rules="sha256:1" if read else "",
        heads=HEADS if read else (), probability=np.array(scores, "<f4").tobytes() if read else b"",
        typicality=draw(st.floats(0, 1, width=32)) if read else None, policy=PolicySnapshot(mode="live"),
        queue="p.review" if route == "review" else None, reasons=("none_fired",) if route == "review" else (),
    )  # fmt: skip


@given(predictions(), st.integers(0, 9), st.booleans())
def test_a_view_is_a_prediction_body(record: PredictionRecord, count: int, known: bool) -> None:
    told = view.prediction_view(record, LABELS if known else None, RULES if known else None, count)  # type: ignore[arg-type]
    body = PredictionBody.model_validate(json.loads(msgspec.json.encode({**told, "final": view.model_final(record)})))
    assert (body.id, body.route, body.review is not None) == (record.id, record.route, record.route == "review")
    assert len(body.suggestions) <= count
    assert (body.final is not None) == (record.route == "automatic")
    if known:
        answered = [label.id for label in body.labels]
        assert answered == (list(record.fires) if record.route == "automatic" else [])
        assert {each.id for each in body.suggestions}.isdisjoint(answered)
        scores = [each.probability for each in body.suggestions]
        assert scores == sorted(scores, reverse=True)
        by_head = dict(zip(record.heads, record.probabilities(), strict=True))
        assert all(np.float32(each.probability) == by_head[each.id] for each in body.labels)
        assert all(np.float32(each.probability) == by_head[each.id] for each in body.suggestions)


@given(predictions(), st.integers(0, 9))
def test_an_item_shows_what_a_lease_says(record: PredictionRecord, count: int) -> None:
    item = view.told(record, LABELS, RULES, count).item  # type: ignore[arg-type]
    assert item.blob == f"{record.project}/{record.site}/{record.sha256}"
    assert [Suggestion.model_validate(each).id for each in item.suggestions] == [
        each["id"] for each in item.suggestions
    ]
    assert set(LeasedItem.model_fields) >= {"token", "item", "suggestions", "reasons"}


@given(
    st.sampled_from(["labels", "none_of_these", "unusable", "new_label"]), answers, st.none() | text, moments, st.integers(1, 9)
)  # fmt: skip
def test_a_verdict_s_final_is_what_people_said(
    outcome: str, given_answers: dict[str, str], new_label: str | None, at: int, revision: int
) -> None:
    verdict = VerdictRecord(
        id="v", prediction="p", project="p", site="s", queue="p.review", sha256="0", reviewer="ada", outcome=outcome,  # type: ignore[arg-type]
        answers=given_answers, new_label=new_label, leased_at=1, at=at, revision=revision,  # type: ignore[arg-type]
    )  # fmt: skip
    final = Final.model_validate(view.people_final(verdict))
    assert set(final.labels) == {label for label, answer in given_answers.items() if answer == "present"}
    assert (final.by, final.outcome, final.revision) == ("people", outcome, revision)
    assert final.new_label == (new_label or None)


@given(st.integers(0, 4_000_000_000_000_000))
def test_moments_are_rfc_3339_and_exact(microseconds: int) -> None:
    told = view.when(microseconds)
    assert told.endswith("Z")
    moment = datetime.datetime.fromisoformat(told)
    epoch = datetime.datetime.fromtimestamp(0, datetime.UTC)
    assert (moment - epoch) // datetime.timedelta(microseconds=1) == microseconds


def test_a_moment_reads_as_people_write_it() -> None:
    assert view.when(MOMENT) == "2026-01-01T00:00:00.000000Z"


@given(predictions(), st.integers(0, 9), st.booleans())
def test_an_item_that_its_view_tells_is_made_again_from_it(record: PredictionRecord, count: int, drawn: bool) -> None:
    record = msgspec.structs.replace(record, id=new_id(), drawn=("red",) if drawn else ())
    known = bool(record.heads)
    told = view.told(record, LABELS if known else None, RULES if known else None, count)  # type: ignore[arg-type]
    assert told.whole is not drawn
    if told.whole:
        assert views.item_of(views.Shown(told.view, None, told.item.blob, "")) == told.item
