"""Verdicts between the journal and whoever is told of them, in Redis beside the queue. An index: the journal can make it again.

    sr:{<queue>}:verdict:<item>   hash: id, stands (revision), payload; told (revision that was published), leaving (revision
                                  that is being published), amendment (accepted, not journaled yet)
    sr:{<queue>}:held             sorted set, item -> ms at which its verdict leaves, or is looked at again
    sr:{<queue>}:amending         sorted set, item -> ms at which its amendment is rolled forward

What follows from a verdict (its final, its outcome, the next reading, its evidence) waits until the hold is over. Then one
gateway lets it go; should it die meanwhile, another does after `_AGAIN_MS`, and what was done already changes nothing.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, cast

from model_store import record as records
from model_store.record import VerdictRecord
from triage.index.reviews import RedisReviews
from triage.index.scripts import key, script

_AGAIN_MS = 10_000
_AT_ONCE = 200


class Amended(NamedTuple):
    """accepted: `stands` is to be journaled. pending: somebody else's is. stale: `stands` has another revision. late: the
    hold is over. gone: no such verdict is known, and nothing stands."""

    what: Literal["accepted", "pending", "stale", "late", "gone"]
    stands: VerdictRecord | None


class RedisVerdicts:
    """Every method raises IndexAway."""

    def __init__(self, reviews: RedisReviews, retention_s: int) -> None:
        self._reviews = reviews
        self._retention_s = retention_s

    async def stands(self, verdict: VerdictRecord, leave: bool) -> bool:
        """A verdict, or an amendment, is journaled: it is held. True when it is due and the caller is to `leave` it go."""
        queue, item = verdict.queue, _item(verdict)
        keys = [_verdict(queue, item), key(queue, "held"), key(queue, "amending")]
        hold_ms = 1e3 * verdict.hold_s
        (state,) = await self._reviews.run(
            script(
                "verdict_stands", keys, item, verdict.id, verdict.revision, records.encode(verdict),
                verdict.at / 1e3 + hold_ms, hold_ms, self._retention_s, int(leave), _AGAIN_MS,
            )
        )  # fmt: skip
        return bool(state == 2)

    async def due(self, queue: str, items: tuple[str, ...] = ()) -> list[bytes]:
        """Some verdicts whose hold is over, for the caller to let go; with `items`, of these. Encoded: one that cannot be
        read must not keep the others from the caller."""
        prefix = _verdict(queue, "")
        (found,) = await self._reviews.run(
            script("verdict_due", [key(queue, "held")], prefix, _AGAIN_MS, _AT_ONCE, *items)
        )
        return list(found)

    async def told(self, verdict: VerdictRecord, outcome: bytes) -> None:
        """Everything that follows from a verdict is done; publishes its outcome, if it is not empty, once."""
        queue, item = verdict.queue, _item(verdict)
        keys = [_verdict(queue, item), key(queue, "held"), key(queue, "outcomes")]
        await self._reviews.run(script("verdict_told", keys, item, verdict.revision, outcome, self._retention_s))

    async def amend(self, unseen: VerdictRecord, seen: VerdictRecord | None) -> Amended:
        """Accepts an amendment of the edition before: `unseen` if that was not published yet, else `seen`, if that may be."""
        queue, item = unseen.queue, _item(unseen)
        keys = [_verdict(queue, item), key(queue, "held"), key(queue, "amending"), key(queue, "whole")]
        mark, over = await self._reviews.mark(queue)
        command = script(
            "verdict_amend", keys, item, unseen.id, unseen.revision - 1, records.encode(unseen),
            records.encode(seen) if seen else b"", _AGAIN_MS, mark,
        )  # fmt: skip
        (reply,) = await self._reviews.run(command, over=over)
        if reply[0] == b"lacking":
            assert self._reviews.whole is not None
            raise self._reviews.whole.lacking()
        what = cast(Literal["accepted", "pending", "stale", "late", "gone"], reply[0].decode())
        return Amended(what, decoded_verdict(reply[1]) if reply[1] else None)

    async def silent(self, queue: str) -> list[bytes]:
        """Amendments that were accepted and that nobody journaled, encoded."""
        (found,) = await self._reviews.run(
            script("verdict_amending", [key(queue, "amending")], _verdict(queue, ""), _AT_ONCE, _AGAIN_MS)
        )
        return list(found)

    async def find(self, queue: str, item: str) -> VerdictRecord | None:
        """The edition that stands, if an item is answered."""
        (payload,) = await self._reviews.run(("HGET", _verdict(queue, item), "payload"))
        return decoded_verdict(payload) if payload else None


def _item(verdict: VerdictRecord) -> str:
    return verdict.item or verdict.prediction


def _verdict(queue: str, item: str) -> str:
    return key(queue, f"verdict:{item}")


def decoded_verdict(payload: bytes) -> VerdictRecord:
    """Raises msgspec.DecodeError for bytes that are none."""
    verdict = records.decode(payload)
    assert isinstance(verdict, VerdictRecord)
    return verdict
