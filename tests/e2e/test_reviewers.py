"""A hundred people at one queue: each item answered once, no lease lost in silence, no answer taken from the dead."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_store.record import VerdictRecord
from tests import bundles, services
from triage.client import Client, LeaseLost
from triage.journal.segments import nodes, read

ITEMS = 2000
REVIEWERS = 100
QUEUE = "default.review"


def verdicts(data: Path) -> list[VerdictRecord]:
    return [record for node in nodes(data / "journal") for _, record in read(node) if isinstance(record, VerdictRecord)]


def test_a_hundred_reviewers_resolve_each_item_exactly_once(tmp_path: Path) -> None:
    services.make_data(tmp_path)
    with (
        services.running_valkey(tmp_path / "valkey") as valkey,
        services.running_gateway(tmp_path, valkey.url) as gateway,
        Client(gateway.url, connections=REVIEWERS) as client,
        ThreadPoolExecutor(REVIEWERS) as pool,
    ):
        pictures = [bundles.picture("grey", salt=salt) for salt in range(ITEMS)]
        sent = {each["id"] for each in pool.map(client.predict, pictures)}
        dead = client.lease(QUEUE, "dead", count=5, seconds=1)

        def review(name: str) -> list[str]:
            answered = []
            while items := client.lease(QUEUE, name, count=3, wait_s=2):
                for item in items:
                    client.answer(item, present=["other"])
                    answered.append(item.item)
            return answered

        by_reviewer = list(pool.map(review, [f"reviewer {number}" for number in range(REVIEWERS)]))
        answered = Counter(item for items in by_reviewer for item in items)
        assert set(answered) == sent
        assert set(answered.values()) == {1}
        assert {item.item for item in dead} <= set(answered), "the dead reviewer's items were given to others"
        for item in dead:
            with pytest.raises(LeaseLost) as lost:
                client.answer(item, present=["red"])
            assert lost.value.status == 409
        state = client.queue(QUEUE)
        assert (state["waiting"], state["leased"]) == (0, 0)
        finals = pool.map(lambda each: client.prediction(each)["final"], sent)
        assert {final["by"] for final in finals} == {"people"}
    journaled = Counter(verdict.prediction for verdict in verdicts(tmp_path))
    assert set(journaled) == sent
    assert set(journaled.values()) == {1}
    assert "dead" not in {verdict.reviewer for verdict in verdicts(tmp_path)}


def test_an_answer_sent_twice_counts_once(tmp_path: Path) -> None:
    services.make_data(tmp_path)
    with (
        services.running_valkey(tmp_path / "valkey") as valkey,
        services.running_gateway(tmp_path, valkey.url) as gateway,
        Client(gateway.url) as client,
    ):
        client.predict(bundles.picture("grey"))
        item = client.lease(QUEUE, "ada")[0]
        first = client.answer(item, present=["other"])
        assert client.answer(item, present=["other"]) == first
        with pytest.raises(LeaseLost):
            client.answer(item, present=["red"])
        assert len(verdicts(tmp_path)) == 1


def test_an_answer_accepted_before_the_gateway_died_is_rolled_forward(tmp_path: Path) -> None:
    """Script 1 has run and the journal has not: the state a kill between the two leaves behind."""
    import asyncio

    from model_store import record as records
    from triage.index.reviews import RedisReviews
    from triage.reviewing.item import LeaseToken

    services.make_data(tmp_path)
    with (
        services.running_valkey(tmp_path / "valkey") as valkey,
        services.running_gateway(tmp_path, valkey.url) as gateway,
        Client(gateway.url) as client,
    ):
        sent = client.predict(bundles.picture("grey"))
        item = client.lease(QUEUE, "ada")[0]
        verdict = VerdictRecord(
            id="00000000-0000-4000-8000-000000000001", prediction=sent["id"], project="default", site="default",
            queue=QUEUE, sha256="0" * 64, reviewer="ada", answers={"other": "present"}, leased_at=1, at=2,
        )  # fmt: skip

        async def accept() -> None:
            reviews = RedisReviews(valkey.url, 2.0)
            payload = records.encode(verdict)
            assert await reviews.answer(LeaseToken.parse(item.token), payload) == (payload, False)
            await reviews.close()

        asyncio.run(accept())
        final = client.prediction(sent["id"], wait_s=30)["final"]
        assert final["labels"] == ["other"]
        assert [each.id for each in verdicts(tmp_path)] == [verdict.id]
