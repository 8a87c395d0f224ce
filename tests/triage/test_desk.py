"""Where people answer: a verdict counts once, in the words of the first answer, and only once it is in the journal."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from embedded.stack import Valkey
from model_store.labels import Group, Label, LabelSchema
from model_store.record import VerdictRecord
from tests.services import Data
from tests.triage.gateway_parts import QUEUE, Wired, wired
from tests.triage.queue_items import expire, state_of
from triage.errors import Conflict, Invalid, JournalBroken, NotFound
from triage.reviewing.item import Lease
from triage.reviewing.verdicts import check_answers

SCHEMA = LabelSchema(
    labels=tuple(Label(id=each, name=each) for each in ("cat", "dog"))
    + tuple(Label(id=each, name=each, group="extras") for each in ("collar", "leash")),
    groups=(Group(), Group(id="extras", kind="independent")),
)


async def leased(gateway: Wired, colour: str = "blue", reviewer: str = "ada") -> Lease:
    await gateway.predict(colour, len(gateway.sent))
    (lease,) = await gateway.desk.lease(QUEUE, reviewer, 1, None)
    return lease


def verdicts(gateway: Wired) -> list[VerdictRecord]:
    return [record for record in gateway.journaled() if isinstance(record, VerdictRecord)]


async def test_an_answer_is_journaled_and_final(gateway: Wired, redis: Redis) -> None:
    lease = await leased(gateway)
    await gateway.desk.shown(lease.token)
    given_back = await gateway.answering.answer(
        lease.token, "labels", {"blue": "present", "red": "unsure"}, None, "clear"
    )
    (stored,) = verdicts(gateway)
    assert stored == given_back
    assert (stored.reviewer, stored.outcome, stored.note, stored.queue) == ("ada", "labels", "clear", QUEUE)
    assert stored.answers == {"blue": "present", "red": "unsure"}
    assert stored.suggestions == ("blue", "red", "green")
    assert (stored.prediction, stored.sha256) == (lease.item.id, lease.item.sha256)
    assert stored.shown_at is not None
    assert stored.leased_at <= stored.shown_at <= stored.at
    assert state_of(redis, lease.item.id) == "resolved"
    assert gateway.metrics.registry.get_sample_value(
        "triage_verdicts_total", {"queue": QUEUE, "outcome": "labels"}
    ) == 1  # fmt: skip
    _, final, _ = await gateway.reviews.view(lease.item.id)
    assert msgspec.json.decode(final or b"")["labels"] == ["blue"]


async def test_the_same_answer_again_gives_the_first_back(gateway: Wired) -> None:
    lease = await leased(gateway)
    first = await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    assert await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "") == first
    assert verdicts(gateway) == [first]


@pytest.mark.parametrize("other", [{"given": {"red": "present"}}, {"note": "no"}, {"outcome": "unusable", "given": {}}])
async def test_other_words_are_a_conflict_and_the_first_stands(gateway: Wired, other: dict[str, object]) -> None:
    lease = await leased(gateway)
    words = {"outcome": "labels", "given": {"blue": "present"}, "new_label": None, "note": ""}
    first = await gateway.answering.answer(lease.token, **words)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="answered already, and otherwise; the first answer stands"):
        await gateway.answering.answer(lease.token, **{**words, **other})  # type: ignore[arg-type]
    assert verdicts(gateway) == [first]


async def test_sent_twice_at_once_it_counts_once(gateway: Wired, redis: Redis) -> None:
    lease = await leased(gateway)
    both = await asyncio.gather(
        *(gateway.answering.answer(lease.token, "none_of_these", {}, None, "") for _ in range(5))
    )
    assert len({each.at for each in both}) == 1
    assert set(map(msgspec.json.encode, verdicts(gateway))) == {msgspec.json.encode(both[0])}
    assert redis.xlen(f"sr:{{{QUEUE}}}:outcomes") == 1


async def test_a_lost_lease_cannot_answer(gateway: Wired, redis: Redis) -> None:
    lost = await leased(gateway)
    expire(redis, lost.item.id)
    await gateway.sweeping.step()
    (taken,) = await gateway.desk.lease(QUEUE, "bob", 1, None)
    for use in (gateway.desk.extend, gateway.desk.shown, gateway.desk.give_back, gateway.desk.skip):
        with pytest.raises(Conflict):
            await use(lost.token)
    with pytest.raises(Conflict):
        await gateway.answering.answer(lost.token, "unusable", {}, None, "")
    await gateway.answering.answer(taken.token, "unusable", {}, None, "")
    with pytest.raises(Conflict, match="answered already"):
        await gateway.answering.answer(lost.token, "unusable", {}, None, "")
    assert [each.reviewer for each in verdicts(gateway)] == ["bob"]


async def test_a_skip_hides_the_item_from_who_skipped(gateway: Wired) -> None:
    lease = await leased(gateway)
    await gateway.desk.skip(lease.token)
    assert await gateway.desk.lease(QUEUE, "ada", 1, None) == []
    assert len(await gateway.desk.lease(QUEUE, "bob", 1, None)) == 1


async def test_what_a_dead_gateway_held_is_rolled_forward(
    gateway: Wired, data: Data, redis: Redis, valkey: Valkey
) -> None:
    """The answer is in Redis, its gateway died before the journal had it: any other gateway finishes it, once."""
    lease = await leased(gateway)
    gateway.journal.broken = "the gateway died here"
    with pytest.raises(JournalBroken):
        await gateway.answering.answer(lease.token, "labels", {"blue": "present"}, None, "")
    assert state_of(redis, lease.item.id) == "answering"
    async with wired(data, valkey.url, node="other") as other:
        await other.sweeping.step()
        assert verdicts(other) == []
        expire(redis, lease.item.id)
        await other.sweeping.step()
        (stored,) = verdicts(other)
        assert stored.answers == {"blue": "present"}
        assert state_of(redis, lease.item.id) == "resolved"
        assert await other.answering.answer(lease.token, "labels", {"blue": "present"}, None, "") == stored


async def test_a_replay_is_not_acknowledged_before_the_journal_has_it(
    gateway: Wired, data: Data, redis: Redis, valkey: Valkey
) -> None:
    """The caller whose first try failed tries again elsewhere, and believes the 200."""
    lease = await leased(gateway)
    gateway.journal.broken = "the gateway died here"
    words = ("labels", {"blue": "present"}, None, "")
    for _ in range(2):
        with pytest.raises(JournalBroken):
            await gateway.answering.answer(lease.token, *words)  # type: ignore[arg-type]
    async with wired(data, valkey.url, node="other") as other:
        given_back = await other.answering.answer(lease.token, *words)  # type: ignore[arg-type]
        assert verdicts(other) == [given_back]
        assert state_of(redis, lease.item.id) == "resolved"


@pytest.mark.parametrize("queue", ["default", "nothing.review", "", ".review", "default.review.review"])
async def test_a_queue_that_is_none_is_not_found(gateway: Wired, queue: str) -> None:
    """A typing error must not be an empty queue for ever."""
    with pytest.raises(NotFound):
        await gateway.desk.lease(queue, "ada", 1, None)


@pytest.mark.parametrize(
    ("outcome", "given_answers", "new_label", "says"),
    [
        ("labels", {"bird": "present"}, None, "'bird' is no label of this queue; choose from cat, dog, collar, leash"),
        ("labels", {}, None, "says something of at least one label; or choose none_of_these"),
        ("new_label", {}, None, "names it in new_label"),
        ("new_label", {}, "", "names it in new_label"),
        ("none_of_these", {"cat": "present"}, None, "cannot call a label present; choose one of the two"),
        ("unusable", {"leash": "present"}, None, "cannot call a label present; choose one of the two"),
        ("labels", {"cat": "present", "dog": "present"}, None, "'cat' and 'dog' exclude each other; call one of them"),
    ],
)
def test_an_answer_that_contradicts_the_labels_is_invalid(
    outcome: str, given_answers: dict[str, str], new_label: str | None, says: str
) -> None:
    with pytest.raises(Invalid) as refused:
        check_answers(SCHEMA, outcome, given_answers, new_label)  # type: ignore[arg-type]
    assert says in str(refused.value)


@given(
    st.sampled_from(["labels", "none_of_these", "unusable", "new_label"]),
    st.dictionaries(
        st.sampled_from(["cat", "dog", "collar", "leash", "bird"]),
        st.sampled_from(["present", "absent", "unsure", "not_assessed"]),
    ),
    st.none() | st.just("x"),
)
def test_what_is_accepted_contradicts_nothing(outcome: str, answers: dict[str, str], new_label: str | None) -> None:
    try:
        check_answers(SCHEMA, outcome, answers, new_label)  # type: ignore[arg-type]
    except Invalid:
        return
    present = {label for label, answer in answers.items() if answer == "present"}
    assert present <= set(SCHEMA.ids)
    assert not present >= {"cat", "dog"}
    assert not present or outcome == "labels"
    assert outcome != "labels" or answers
    assert outcome != "new_label" or new_label


async def test_independent_labels_may_both_be_present(gateway: Wired) -> None:
    check_answers(SCHEMA, "labels", {"collar": "present", "leash": "present", "cat": "present"}, None)
