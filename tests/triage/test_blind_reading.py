"""Blind readings: every label is asked, one reader's doubt asks another, and only what both doubt corrects the model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from model_store.record import Answer, VerdictRecord
from tests.triage.auditing import ALL
from tests.triage.blind import declare, final, read, taken
from tests.triage.gateway_parts import QUEUE, Wired
from tests.triage.queue_items import state_of
from tests.triage.test_desk import SCHEMA, verdicts
from triage.errors import Conflict, Invalid
from triage.ids import now_us, reading_id
from triage.promise.audits import BONUS_S
from triage.reviewing.item import Item, score
from triage.reviewing.verdicts import every_label, judged


async def test_who_confirms_the_model_ends_it(gateway: Wired, redis: Redis) -> None:
    declare(gateway)
    view = await gateway.predict("red")
    stored = await read(gateway, "ada", "red")
    assert verdicts(gateway) == [stored]
    assert stored.answers == {"red": "present", "green": "absent", "blue": "absent", "other": "absent"}
    assert (stored.prediction, stored.item) == (view["id"], reading_id(view["id"], "audit", 1))
    assert (stored.purpose, stored.blind, stored.reading, stored.suggestions) == ("audit", True, 1, ())
    assert (stored.drawn, stored.doubts, stored.corrects) == (("red",), (), False)
    assert stored.received_at == gateway.predictions()[0].received_at
    assert state_of(redis, stored.item) == "resolved"
    assert await final(gateway, view["id"]) == view["final"]
    assert await gateway.outcomes() == []
    assert await gateway.desk.lease(QUEUE, "bob", 5, None) == []


@pytest.mark.parametrize(
    ("outcome", "given_answers"),
    [
        ("labels", {"green": "present"}),
        ("labels", {"red": "unsure", "green": "absent", "blue": "absent", "other": "absent"}),
        ("labels", {"red": "not_assessed", "green": "absent", "blue": "absent", "other": "absent"}),
        ("none_of_these", {}),
        ("unusable", {}),
    ],
)
async def test_whatever_does_not_confirm_is_a_doubt_and_asks_another(
    gateway: Wired, outcome: str, given_answers: dict[str, Answer]
) -> None:
    declare(gateway)
    view = await gateway.predict("red")
    lease = await taken(gateway, "ada")
    first = await gateway.answering.answer(lease.token, outcome, given_answers, None, "")  # type: ignore[arg-type]
    assert (first.doubts, first.corrects) == (("red",), False)
    assert await final(gateway, view["id"]) == view["final"]
    assert await gateway.desk.lease(QUEUE, "ada", 5, None) == []  # never the same person
    item = (await taken(gateway, "bob")).item
    assert item.id == reading_id(view["id"], "audit", 2)
    assert (item.prediction, item.reading, item.blind, item.doubts) == (view["id"], 2, True, ("red",))


async def test_what_two_doubt_is_corrected_and_callers_are_told(gateway: Wired) -> None:
    declare(gateway)
    view = await gateway.predict("red", case="c1")
    await read(gateway, "ada", "green")
    second = await read(gateway, "bob", "blue")
    assert (second.reading, second.doubts, second.corrects, second.revision) == (2, ("red",), True, 2)
    (event,) = await gateway.outcomes()
    assert (event["type"], event["prediction"], event["case"]) == ("correction", view["id"], "c1")
    stands = await final(gateway, view["id"]) or {}
    assert stands == event["final"]
    assert (stands["labels"], stands["by"], stands["revision"]) == (["blue"], "people", 2)


async def test_what_only_one_doubts_stays(gateway: Wired) -> None:
    declare(gateway)
    view = await gateway.predict("red")
    await read(gateway, "ada", "green")
    second = await read(gateway, "bob", "red")
    assert (second.doubts, second.corrects) == ((), False)
    assert await final(gateway, view["id"]) == view["final"]
    assert await gateway.outcomes() == []
    assert await gateway.desk.lease(QUEUE, "cy", 5, None) == []


async def test_a_site_of_one_reviewer_is_corrected_by_one(gateway: Wired) -> None:
    declare(gateway, audit={**ALL, "second_reader": False})
    view = await gateway.predict("red")
    first = await read(gateway, "ada", "green")
    assert (first.second_reader, first.corrects) == (False, True)
    assert [event["type"] for event in await gateway.outcomes()] == ["correction"]
    assert (await final(gateway, view["id"]) or {})["by"] == "people"
    assert await gateway.desk.lease(QUEUE, "bob", 5, None) == []


async def test_where_a_person_was_asked_anyway_the_first_answer_is_the_caller_s(gateway: Wired) -> None:
    """Two people who differ are one against one: nobody's word is taken back, and the class has its evidence."""
    declare(gateway, suspended=("red",))
    view = await gateway.predict("red")
    first = await read(gateway, "ada", "green")
    assert (first.purpose, first.blind, first.doubts, first.corrects) == ("review", True, ("red",), False)
    (event,) = await gateway.outcomes()
    assert (event["type"], event["final"]["labels"], event["final"]["revision"]) == ("final", ["green"], 1)
    second = await read(gateway, "bob", "blue")
    assert (second.purpose, second.reading, second.doubts, second.corrects) == ("review", 2, ("red",), False)
    assert (await final(gateway, view["id"]) or {})["labels"] == ["green"]
    assert await gateway.outcomes() == [event]


async def test_audits_and_second_readings_come_before_everything_else(gateway: Wired) -> None:
    await gateway.predict("blue")
    declare(gateway)
    audited = [(await gateway.predict("red", salt))["id"] for salt in range(2)]
    first, *_ = await gateway.desk.lease(QUEUE, "ada", 1, None)
    await gateway.answering.answer(first.token, "unusable", {}, None, "")
    leases = await gateway.desk.lease(QUEUE, "bob", 5, None)
    assert [(each.item.prediction, each.item.reading) for each in leases] == [
        (audited[0], 2), (audited[1], 1), (gateway.sent[0]["id"], 1),
    ]  # fmt: skip
    assert (await gateway.reviews.stats(QUEUE)).waiting == 0


async def test_what_comes_first_has_its_own_age(gateway: Wired) -> None:
    for bonus, age_s in ((0.0, 60), (BONUS_S / 2, 90), (BONUS_S, 120)):
        at = now_us() - 1_000_000 * age_s
        item = Item(
            id=f"item {age_s}", project="default", site="default", case=None, sha256="0", received_at=at, reasons=()
        )
        await gateway.reviews.enqueue(QUEUE, item, score(at, bonus))
        assert age_s - 1 < (await gateway.reviews.stats(QUEUE)).oldest_age_s < age_s + 30


async def recalled(gateway: Wired) -> str:
    view = await gateway.predict("red")
    item = Item(
        id=reading_id(view["id"], "recall", 1), prediction=view["id"], project="default", site="default", case=None,
        sha256=gateway.predictions()[-1].sha256, received_at=1, reasons=(), purpose="recall", blind=True, revision=3,
        drawn=("red",), answered=("red",),
    )  # fmt: skip
    await gateway.reviews.enqueue(QUEUE, item, 1.0)
    return str(view["id"])


async def test_what_people_say_of_a_recalled_answer_is_final(gateway: Wired) -> None:
    kept = await recalled(gateway)
    confirmed = await read(gateway, "ada", "red")
    assert (confirmed.purpose, confirmed.corrects) == ("recall", False)
    assert (await final(gateway, kept) or {})["by"] == "people"
    assert await gateway.outcomes() == []
    lost = await recalled(gateway)
    assert (await read(gateway, "ada", "green")).corrects
    (event,) = await gateway.outcomes()
    assert (event["type"], event["prediction"], event["final"]["revision"]) == ("correction", lost, 3)
    assert (await final(gateway, lost) or {})["labels"] == ["green"]
    assert await gateway.desk.lease(QUEUE, "bob", 5, None) == []  # one reading decides


async def test_a_blind_answer_sent_again_gives_the_first_back(gateway: Wired) -> None:
    """By then the item is gone, which said that the reading is blind."""
    declare(gateway)
    await gateway.predict("red")
    lease = await taken(gateway, "ada")
    answer: dict[str, Answer] = {"red": "present"}
    first = await gateway.answering.answer(lease.token, "labels", answer, None, "")
    assert await gateway.answering.answer(lease.token, "labels", answer, None, "") == first
    with pytest.raises(Conflict, match="the first answer stands"):
        await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    assert verdicts(gateway) == [first]


async def test_half_an_answer_is_refused_and_keeps_the_lease(gateway: Wired) -> None:
    declare(gateway)
    await gateway.predict("red")
    lease = await taken(gateway, "ada")
    with pytest.raises(
        Invalid, match="this image is read blind, and nothing is said of 'red' and 2 more; call every label"
    ):
        await gateway.answering.answer(lease.token, "labels", {"green": "absent"}, None, "")
    await gateway.answering.answer(lease.token, "labels", {"green": "present"}, None, "")


async def test_a_leased_image_is_fetched_by_its_lease_alone(gateway: Wired) -> None:
    declare(gateway)
    await gateway.predict("red")
    lease = await taken(gateway, "ada")
    blob, spec = await gateway.desk.image(lease.token)
    assert blob == lease.item.blob
    assert spec == gateway.data.bundle.manifest.image
    await gateway.answering.answer(lease.token, "unusable", {}, None, "")
    with pytest.raises(Conflict, match="answered already; lease the next one"):
        await gateway.desk.image(lease.token)


answers: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(SCHEMA.ids), st.sampled_from(["present", "absent", "unsure", "not_assessed"])
)


@given(answers)
def test_every_label_is_answered_or_one_is_named(said: dict[str, Answer]) -> None:
    animal = [said.get(label) for label in ("cat", "dog")]
    complete = ("present" in animal or None not in animal) and {"collar", "leash"} <= set(said)
    if not complete:
        with pytest.raises(Invalid, match="; call every label"):
            every_label(SCHEMA, said)
        return
    full = every_label(SCHEMA, said)
    assert set(full) == set(SCHEMA.ids)
    assert said.items() <= full.items()
    assert all(full[label] == "absent" for label in full.keys() - said.keys())


@given(
    st.sampled_from(["review", "audit", "recall"]), st.integers(1, 2), st.sets(st.sampled_from(SCHEMA.ids)),
    st.sets(st.sampled_from(SCHEMA.ids)), st.booleans(), st.fixed_dictionaries({
        label: st.sampled_from(["present", "absent", "unsure"]) for label in SCHEMA.ids
    }),
)  # fmt: skip
def test_the_model_is_corrected_only_where_it_answered_and_enough_people_say_so(
    purpose: str, reading: int, drawn: set[str], before: set[str], second_reader: bool, said: dict[str, Answer]
) -> None:
    item = Item(
        id="i", project="p", site="s", case=None, sha256="0", received_at=1, reasons=(), purpose=purpose, blind=True,  # type: ignore[arg-type]
        reading=reading, drawn=tuple(sorted(drawn)), doubts=tuple(before & drawn) if reading == 2 else (),
        answered=("cat",),
    )  # fmt: skip
    bare = VerdictRecord(
        id="v", prediction="i", project="p", site="s", queue="p.review", sha256="0", reviewer="ada", answers=said,
        leased_at=1, at=2,
    )  # fmt: skip
    found = judged(bare, item, SCHEMA, second_reader)
    doubts = {label for label in drawn if said[label] != "present"}
    assert set(found.doubts) == doubts
    if purpose == "recall":
        assert found.corrects == ({label for label in said if said[label] == "present"} != {"cat"})
    elif purpose == "review":
        assert not found.corrects
    elif reading == 2:
        assert found.corrects == bool(doubts & before)
    else:
        assert found.corrects == (bool(doubts) and not second_reader)
