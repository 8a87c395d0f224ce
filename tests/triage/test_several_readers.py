"""Several readers of one image: who is asked next, who never again, what callers are told in the end."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from model_store.record import Record
from tests.triage.answers_of_people import say, take
from tests.triage.blind import declare, final
from tests.triage.documents import write
from tests.triage.gateway_parts import QUEUE, Wired
from tests.triage.test_desk import verdicts
from triage.errors import Invalid

ADJUDICATORS = "default.adjudicators"


def ask(gateway: Wired, agree: int, readers: int, **more: Any) -> None:
    write(gateway, "queues", "review", hold_s=0, agree=agree, readers=readers, **more)


async def test_two_who_agree_decide(gateway: Wired) -> None:
    ask(gateway, 2, 3)
    sent = await gateway.predict("blue")
    first = await say(gateway, "ada", "blue")
    assert (first.step, first.agreed) == ("again", None)
    assert await final(gateway, sent["id"]) is None
    assert await gateway.desk.lease(QUEUE, "ada", 5, None) == []  # never the same person
    lease = await take(gateway, "bob")
    assert [each["id"] for each in lease.item.suggestions] == ["blue", "red", "green"]  # sees what the first one saw
    assert lease.item.reasons == tuple(sent["reasons"])
    second = await gateway.answering.answer(lease.token, "labels", {"blue": "present", "red": "unsure"}, None, "")
    assert (second.reading, second.step, second.agreed, second.agreed_outcome) == (
        2,
        "final",
        {"blue": "present"},
        "labels",
    )
    assert [each.reviewer for each in second.earlier] == ["ada"]
    assert (await final(gateway, sent["id"]) or {})["labels"] == ["blue"]
    assert [each["type"] for each in await gateway.outcomes()] == ["final"]
    assert await gateway.desk.lease(QUEUE, "cy", 5, None) == []  # it ends as soon as it is decided


async def test_a_third_decides_between_two(gateway: Wired) -> None:
    ask(gateway, 2, 3)
    sent = await gateway.predict("blue")
    for reviewer, label in (("ada", "blue"), ("bob", "green")):
        assert (await say(gateway, reviewer, label)).step == "again"
    third = await say(gateway, "cy", "green")
    assert [each.reviewer for each in third.earlier] == ["ada", "bob"]
    assert (await final(gateway, sent["id"]) or {})["labels"] == ["green"]


async def test_who_cannot_agree_and_have_no_adjudicator_leave_it_undecided(gateway: Wired) -> None:
    ask(gateway, 2, 2)
    sent = await gateway.predict("blue")
    await say(gateway, "ada", "blue")
    last = await say(gateway, "bob", "green")
    assert (last.step, last.agreed_outcome, last.agreed) == (
        "final",
        "undecided",
        {"blue": "unsure", "green": "unsure"},
    )
    stands = await final(gateway, sent["id"]) or {}
    assert (stands["outcome"], stands["labels"], stands["by"]) == ("undecided", [], "people")


async def test_what_readers_cannot_agree_on_an_adjudicator_decides(gateway: Wired) -> None:
    write(gateway, "queues", "adjudicators", hold_s=0, agree=2, readers=2)
    ask(gateway, 2, 2, escalate_to="adjudicators")
    sent = await gateway.predict("blue")
    await say(gateway, "ada", "blue")
    split = await say(gateway, "bob", "green")
    assert (split.step, split.escalate_to) == ("escalate", ADJUDICATORS)
    assert await final(gateway, sent["id"]) is None
    for reader in ("ada", "bob"):
        assert await gateway.desk.lease(ADJUDICATORS, reader, 5, None) == []
    lease = await take(gateway, "eve", ADJUDICATORS)
    assert [(each.reviewer, each.answers) for each in lease.item.earlier] == [
        ("ada", {"blue": "present"}), ("bob", {"green": "present"})
    ]  # fmt: skip
    word = await gateway.answering.answer(lease.token, "none_of_these", {}, None, "")
    assert (word.adjudicated, word.step, word.agreed_outcome) == (
        True,
        "final",
        "none_of_these",
    )  # though two are asked
    assert (await final(gateway, sent["id"]) or {})["outcome"] == "none_of_these"


async def test_a_reviewer_may_leave_it_to_an_adjudicator(gateway: Wired) -> None:
    write(gateway, "queues", "review", hold_s=0, escalate_to="adjudicators")
    sent = await gateway.predict("blue")
    left = await say(gateway, "ada", "escalated")
    assert (left.outcome, left.step, left.note) == ("escalated", "escalate", "too hard")
    lease = await take(gateway, "eve", ADJUDICATORS)
    assert [(each.outcome, each.note) for each in lease.item.earlier] == [("escalated", "too hard")]
    await gateway.answering.answer(lease.token, "labels", {"green": "present"}, None, "")
    assert (await final(gateway, sent["id"]) or {})["labels"] == ["green"]
    assert [each["final"]["labels"] for each in await gateway.outcomes()] == []  # it was decided in the other queue
    found = await gateway.reviews.outcomes(ADJUDICATORS, "0", 10)
    assert len(found) == 1


async def test_without_adjudicators_nothing_is_escalated(gateway: Wired) -> None:
    write(gateway, "queues", "review", hold_s=0)
    await gateway.predict("blue")
    lease = await take(gateway, "ada")
    with pytest.raises(Invalid, match="names nobody to escalate to"):
        await gateway.answering.escalate(lease.token, "")
    assert await gateway.desk.extend(lease.token) > 0  # still held
    assert verdicts(gateway) == []


async def test_an_audit_that_is_escalated_is_a_doubt_and_asks_the_second_reader_first(gateway: Wired) -> None:
    declare(gateway)
    write(gateway, "queues", "review", hold_s=0, escalate_to="adjudicators")
    sent = await gateway.predict("red")
    first = await say(gateway, "ada", "escalated")
    assert (first.purpose, first.doubts, first.step, first.corrects) == ("audit", ("red",), "final", False)
    second = await say(gateway, "bob", "escalated")
    assert (second.reading, second.step, second.corrects) == (2, "escalate", False)
    assert await final(gateway, sent["id"]) == sent["final"]  # nobody has decided otherwise yet
    lease = await take(gateway, "eve", ADJUDICATORS)
    assert (lease.item.drawn, lease.item.blind) == ((), True)
    word = await gateway.answering.answer(lease.token, "labels", {"green": "present"}, None, "")
    assert word.corrects
    assert (await final(gateway, sent["id"]) or {})["labels"] == ["green"]


async def test_an_adjudicator_who_confirms_the_model_corrects_nothing(gateway: Wired) -> None:
    declare(gateway)
    write(gateway, "queues", "review", hold_s=0, escalate_to="adjudicators")
    sent = await gateway.predict("red")
    for reader in ("ada", "bob"):
        await say(gateway, reader, "escalated")
    word = await say(gateway, "eve", "red", ADJUDICATORS)
    assert not word.corrects
    assert await final(gateway, sent["id"]) == sent["final"]


async def test_a_drawn_image_that_is_read_by_several_is_evidence_twice_at_most(gateway: Wired) -> None:
    """Where the first reader doubts the drawn class the next reading is the second opinion; a third one decides only."""
    declare(gateway, suspended=("red",))
    ask(gateway, 2, 3)
    await gateway.predict("red")
    first = await say(gateway, "ada", "green")
    assert (first.drawn, first.doubts, first.step) == (("red",), ("red",), "again")
    second = await say(gateway, "bob", "blue")
    assert (second.reading, second.drawn, second.first_doubts, second.step) == (2, ("red",), ("red",), "again")
    third = await say(gateway, "cy", "green")
    assert (third.reading, third.drawn, third.step) == (3, (), "final")


async def test_whoever_replays_the_journal_asks_nobody_again(gateway: Wired, redis: Redis) -> None:
    ask(gateway, 2, 3, escalate_to="adjudicators")
    await gateway.predict("blue")
    for reviewer, label in (("ada", "blue"), ("bob", "green"), ("cy", "none_of_these")):
        await say(gateway, reviewer, label)
    records = gateway.journaled()
    redis.flushall()

    def read() -> list[Record]:
        return records

    await gateway.index.replay(read)
    for reader in ("ada", "bob", "cy", "dan"):
        assert await gateway.desk.lease(QUEUE, reader, 5, None) == []
    assert (await take(gateway, "eve", ADJUDICATORS)).item.reading == 4
