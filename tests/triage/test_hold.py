"""What a verdict leads to waits until nobody can take it back unseen; then it happens once."""

from __future__ import annotations

from typing import NoReturn

import msgspec
import pytest
from redis import Redis

from embedded.stack import Valkey
from model_store.record import Record, VerdictRecord
from tests.services import Data
from tests.triage.answers_of_people import amend, held, hold_over, say, take
from tests.triage.blind import declare, final
from tests.triage.documents import write
from tests.triage.gateway_parts import QUEUE, Wired, wired
from tests.triage.queue_items import key
from tests.triage.test_desk import verdicts
from triage.errors import Conflict, Forbidden, IndexAway, JournalBroken, NotFound
from triage.index.audits import Class, RedisAudits
from triage.index.verdicts import RedisVerdicts
from triage.reviewing.amendments import Said
from triage.reviewing.verdict_id import VerdictId


@pytest.fixture(autouse=True)
def held_for_long(gateway: Wired) -> None:
    write(gateway, "queues", "review", hold_s=3600)


async def test_a_verdict_is_journaled_at_once_and_told_later(gateway: Wired, redis: Redis) -> None:
    sent = await gateway.predict("blue")
    verdict = await say(gateway, "ada", "blue")
    assert verdicts(gateway) == [verdict]
    assert verdict.hold_s == 3600
    await gateway.answering.step()
    assert (await final(gateway, sent["id"]), await gateway.outcomes()) == (None, [])
    assert await gateway.desk.lease(QUEUE, "bob", 5, None) == []
    hold_over(redis, sent["id"])
    for _ in range(2):
        await gateway.answering.step()
    assert (await final(gateway, sent["id"]) or {})["labels"] == ["blue"]
    assert [each["type"] for each in await gateway.outcomes()] == ["final"]
    assert held(redis) == set()


async def test_an_amendment_within_the_hold_takes_its_place_unseen(gateway: Wired, redis: Redis) -> None:
    sent = await gateway.predict("blue")
    first = await say(gateway, "ada", "blue")
    amended = await amend(gateway, first, "green")
    assert (amended.id, amended.revision, amended.amends, amended.corrects) == (first.id, 2, first.id, False)
    assert verdicts(gateway) == [first, amended]
    hold_over(redis, sent["id"])
    await gateway.answering.step()
    (told,) = await gateway.outcomes()
    assert (told["type"], told["final"]["labels"], told["final"]["revision"]) == ("final", ["green"], 2)
    assert await final(gateway, sent["id"]) == told["final"]


async def test_a_later_amendment_is_a_correction(gateway: Wired, redis: Redis) -> None:
    sent = await gateway.predict("blue")
    first = await say(gateway, "ada", "blue")
    hold_over(redis, sent["id"])
    await gateway.answering.step()
    amended = await amend(gateway, first, "green")
    assert amended.corrects
    assert len(await gateway.outcomes()) == 1  # it is held, too
    hold_over(redis, sent["id"])
    await gateway.answering.step()
    told = await gateway.outcomes()
    assert [(each["type"], each["final"]["revision"]) for each in told] == [("final", 1), ("correction", 2)]
    assert (await final(gateway, sent["id"]) or {})["labels"] == ["green"]


async def test_without_a_hold_it_is_told_at_once(gateway: Wired) -> None:
    write(gateway, "queues", "review", hold_s=0)
    sent = await gateway.predict("blue")
    first = await say(gateway, "ada", "blue")
    assert (await final(gateway, sent["id"]) or {})["labels"] == ["blue"]
    await amend(gateway, first, "red")
    assert [each["type"] for each in await gateway.outcomes()] == ["final", "correction"]


async def test_of_two_amendments_of_one_edition_one_wins(gateway: Wired) -> None:
    await gateway.predict("blue")
    first = await say(gateway, "ada", "blue")
    second = await amend(gateway, first, "green")
    assert await amend(gateway, first, "green") == second  # the same again: what stands
    with pytest.raises(Conflict, match="is at revision 2 and not 1; look at what it says now, and amend that"):
        await amend(gateway, first, "red")
    third = await amend(gateway, second, "red")
    assert third.revision == 3
    assert verdicts(gateway) == [first, second, third]


async def test_only_its_reviewer_or_an_adjudicator_amends(gateway: Wired, redis: Redis) -> None:
    sent = await gateway.predict("blue")
    first = await say(gateway, "ada", "blue")
    with pytest.raises(Forbidden, match="bob did not give this answer"):
        await amend(gateway, first, "green", by="bob")
    word = await amend(gateway, first, "green", by="eve", adjudicates=True)
    assert (word.reviewer, word.adjudicated, word.agreed) == ("eve", True, {"green": "present"})
    hold_over(redis, sent["id"])
    await gateway.answering.step()
    assert (await final(gateway, sent["id"]) or {})["labels"] == ["green"]


async def test_a_verdict_that_is_none_is_not_found(gateway: Wired) -> None:
    await gateway.predict("blue")
    first = await say(gateway, "ada", "blue")
    other = VerdictId(QUEUE, VerdictId.parse(first.id).item, "0" * 32)
    for name in (other, VerdictId(QUEUE, "nothing", "0" * 32), VerdictId("nowhere.review", "x", "y")):
        with pytest.raises(NotFound):
            await gateway.answering.amend(name, 1, Said("unusable"), "ada")


async def test_a_reading_that_others_build_on_is_not_amended_later(gateway: Wired, redis: Redis) -> None:
    write(gateway, "queues", "review", hold_s=3600, agree=2, readers=2)
    sent = await gateway.predict("blue")
    first = await say(gateway, "ada", "blue")
    first = await amend(gateway, first, "green")
    assert first.step == "again"
    assert await gateway.desk.lease(QUEUE, "bob", 5, None) == []  # asked when the hold is over
    hold_over(redis, sent["id"])
    await gateway.answering.step()
    with pytest.raises(Conflict, match="its hold is over and others rely on this answer"):
        await amend(gateway, first, "blue")
    second = await say(gateway, "bob", "green")
    assert [each.answers for each in second.earlier] == [{"green": "present"}]  # what it says now
    assert second.agreed == {"green": "present"}


async def test_evidence_is_what_was_said_when_the_hold_was_over(gateway: Wired, redis: Redis) -> None:
    declare(gateway)
    await gateway.predict("red")
    first = await say(gateway, "ada", "green")
    assert first.doubts == ("red",)
    amended = await amend(gateway, first, "red")
    assert (amended.doubts, amended.purpose, amended.step) == ((), "audit", "final")
    assert redis.exists(f"sr:{{{QUEUE}}}:ready") == 0  # nothing is evidence yet
    hold_over(redis, amended.item)
    await gateway.answering.step()
    assert redis.exists(f"sr:{{{QUEUE}}}:ready") == 1
    assert await gateway.desk.lease(QUEUE, "bob", 5, None) == []  # no doubt is left
    with pytest.raises(Conflict, match="others rely"):
        await amend(gateway, amended, "green")


async def test_agreement_that_an_amendment_ends_asks_again(gateway: Wired, redis: Redis) -> None:
    write(gateway, "queues", "review", hold_s=0, agree=2, readers=3)
    sent = await gateway.predict("blue")
    await say(gateway, "ada", "blue")
    second = await say(gateway, "bob", "blue")
    assert (await final(gateway, sent["id"]) or {})["labels"] == ["blue"]
    amended = await amend(gateway, second, "green")
    assert (amended.step, amended.agreed) == ("again", None)
    assert (await final(gateway, sent["id"]) or {})["labels"] == ["blue"]  # until somebody decides
    await say(gateway, "cy", "green")
    stands = await final(gateway, sent["id"]) or {}
    assert (stands["labels"], stands["revision"]) == (["green"], 2)


async def test_what_is_held_survives_a_lost_index_and_is_told_once(gateway: Wired, redis: Redis) -> None:
    sent = await gateway.predict("blue")
    first = await say(gateway, "ada", "blue")
    amended = await amend(gateway, first, "green")
    redis.flushall()
    await gateway.recorder.step()
    assert held(redis) == {sent["id"]}
    assert await gateway.outcomes() == []
    assert await amend(gateway, first, "green") == amended  # a replay after the loss: what stands
    third = await amend(gateway, amended, "red")
    hold_over(redis, sent["id"])
    await gateway.answering.step()
    redis.flushall()
    past = [_long_ago(record) for record in gateway.journaled()]
    await gateway.index.replay(lambda: past)  # the hold was over: told at once
    (told,) = await gateway.outcomes()
    assert (told["final"]["labels"], told["final"]["revision"]) == (["red"], third.revision)
    await gateway.index.replay(lambda: past)
    await gateway.answering.step()
    assert len(await gateway.outcomes()) == 1


async def test_a_replayed_answer_after_a_lost_index_gets_the_first_one_back(gateway: Wired, redis: Redis) -> None:
    await gateway.predict("blue")
    lease = await take(gateway, "ada")
    first = await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    redis.flushall()
    await gateway.recorder.step()
    assert await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "") == first
    with pytest.raises(Conflict, match="answered already, and otherwise"):
        await gateway.answering.answer(lease.token, "labels", {"red": "present"}, None, "")
    assert verdicts(gateway) == [first]


async def test_of_an_item_that_is_closed_the_verdict_stands_wherever_its_gateway_died(
    gateway: Wired, data: Data, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.predict("blue")
    lease = await take(gateway, "ada")
    async with wired(data, valkey.url, node="other") as other:

        async def dead(*_: object, **__: object) -> NoReturn:
            raise IndexAway("the gateway died here")

        async def dies(*_: object) -> NoReturn:
            monkeypatch.setattr(other.reviews, "run", dead)
            raise IndexAway("the gateway died here")

        monkeypatch.setattr(RedisVerdicts, "stands", dies)
        first = await other.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
        monkeypatch.undo()
        with pytest.raises(IndexAway, match="on its way"):
            await amend(gateway, first, "green")
        assert await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "") == first
        assert (await amend(gateway, first, "green")).revision == 2


async def test_an_amendment_whose_gateway_died_is_rolled_forward(
    gateway: Wired, data: Data, redis: Redis, valkey: Valkey
) -> None:
    sent = await gateway.predict("blue")
    first = await say(gateway, "ada", "blue")
    gateway.journal.broken = "the gateway died here"
    with pytest.raises(JournalBroken):
        await amend(gateway, first, "green")
    async with wired(data, valkey.url, node="other") as other:
        hold_over(redis, sent["id"])
        await other.answering.step()
        assert await gateway.outcomes() == []  # what it takes the place of is not told meanwhile
        assert redis.zadd(f"sr:{{{QUEUE}}}:amending", {sent["id"]: 1}, xx=True, ch=True) == 1
        await other.answering.step()
        (amended,) = verdicts(other)
        assert (amended.answers, amended.revision) == ({"green": "present"}, 2)
        assert await amend(other, first, "green") == amended
        hold_over(redis, sent["id"])
        await other.answering.step()
        assert [each["final"]["labels"] for each in await other.outcomes()] == [["green"]]


async def test_a_person_s_final_outranks_the_model_s_that_came_at_the_same_time(gateway: Wired) -> None:
    """The model came back just while a person answered: callers who keep the higher revision keep the person's."""
    gateway.classifier.away()
    await gateway.predict("red")
    gateway.classifier.back()
    (record,) = gateway.predictions()
    verdict = await say(gateway, "ada", "blue")
    again = await gateway.intake.decide_again(record)
    assert again.route == "automatic"
    assert verdict.revision > again.revision


def _long_ago(record: Record) -> Record:
    return msgspec.structs.replace(record, at=1, hold_s=1.0) if isinstance(record, VerdictRecord) else record


@pytest.mark.parametrize("order", [0, 1, -1], ids=["replayed", "one by one", "backwards"])
@pytest.mark.parametrize("unseen", ["", "blue"], ids=["as first said", "taken back unseen"])
async def test_what_others_relied_on_stays_evidence_when_an_adjudicator_amends_it_and_the_index_is_lost(
    gateway: Wired, redis: Redis, order: int, unseen: str
) -> None:
    """Else the draw would be read by nobody, and count as an error when it is overdue."""
    declare(gateway, suspended=["red"])
    sent = await gateway.predict("red")
    first = await say(gateway, "ada", "green")
    if unseen:
        first = await amend(gateway, first, unseen)
    hold_over(redis, sent["id"])
    await gateway.answering.step()
    lived = await drawn(gateway)
    assert lived == (("red",), None)
    amended = await amend(gateway, first, "red", "carol", adjudicates=True)
    amended = await amend(gateway, amended, "other", "carol", adjudicates=True)
    assert (amended.drawn, amended.relied_on) == ((), first.revision)
    redis.flushall()
    if not order:
        await gateway.recorder.step()
    for record in gateway.journaled()[::order] if order else ():
        await gateway.index.apply(_long_ago(record))
    assert await drawn(gateway) == lived
    assert (await take(gateway, "ben")).item.reading == 2


async def drawn(gateway: Wired) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """What the two readings of the one draw there is doubt."""
    (draw,) = await RedisAudits(gateway.reviews).line(QUEUE, Class("default", "red"), 9, 0)
    first, second = draw.readings
    return first and first.doubts, second and second.doubts


@pytest.mark.parametrize("broken", ["payload", "item"])
async def test_a_verdict_that_cannot_be_carried_out_holds_up_nobody_else(
    gateway: Wired, redis: Redis, broken: str
) -> None:
    bad, good = await gateway.predict("blue"), await gateway.predict("blue", salt=1)
    for lease in await gateway.desk.lease(QUEUE, "ada", 2, None):
        await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    if broken == "payload":
        redis.hset(key(f"verdict:{bad['id']}"), "payload", b"nobody can read this")
    else:
        redis.delete(key(f"item:{bad['id']}"))
        redis.set(key(f"item:{bad['id']}"), "no item")
    hold_over(redis, bad["id"], good["id"])
    await gateway.answering.step()
    assert good["id"] in [each["prediction"] for each in await gateway.outcomes()]
    assert await final(gateway, good["id"])
    assert held(redis) == ({bad["id"]} if broken == "payload" else set())  # what has not left is tried again
    assert gateway.metrics.registry.get_sample_value("triage_verdicts_stuck_total", {"queue": QUEUE}) == 1
