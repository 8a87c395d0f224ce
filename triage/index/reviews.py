"""The review queue, the views for GET and the outcome stream, in Redis. An index: the journal can make it again.

    sr:{<queue>}:waiting    sorted set, item -> score        sr:{<queue>}:item:<id>  hash: state, body, lease, payload
    sr:{<queue>}:leases     sorted set, item -> expiry ms    sr:{<queue>}:outcomes   stream
    sr:{<queue>}:retry      set: items the returning model may take back
    sr:truths:<id>          hash: what callers say was right (truths.py)
    sr:key:<hash>           what an Idempotency-Key stands for (calling/keyed.py)
    sr:view:<id>            hash: view and its revision, the blob's key, final state and its rank, who sent it
    sr:finals               channel: the view's key, when somebody may wait for what has come
    sr:checkpoint:<node>    how far that node's journal is indexed     sr:epoch  changes when the index was lost

Every change of an item is one script in `lua/`; times are the server's own, so gateways' clocks do not matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, cast

import msgspec
from redis.exceptions import NoScriptError, RedisError

from triage.errors import Conflict, IndexAway, NotFound
from triage.index.lane import Command, RedisLane
from triage.ports import Position
from triage.promise.audits import BONUS_S
from triage.reviewing.item import Held, Holding, Item, Lease, LeaseToken, QueueStats, nonce

_NAMES = (
    "enqueue", "lease", "extend", "release", "answer", "close", "sweep", "view",
    "draw", "reading", "evidence", "recall", "case_member", "case_closed",
)  # fmt: skip
_SOURCES = {name: files("triage.index").joinpath(f"lua/{name}.lua").read_text() for name in _NAMES}
_DIGESTS = {name: hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest() for name, source in _SOURCES.items()}
_PASS_OVER = 1000
"""Items that one lease passes over at most: more than a reviewer will have skipped, little enough for one script."""
_ANSWER_HOLD_MS = 10_000
"""After this long an answer that is not journaled is rolled forward by whoever sweeps."""
_BONUSES_MS = tuple(1e3 * BONUS_S * share for share in (1, 0.5, 0))
"""Of what is drawn, of what is recalled, of the rest (review.score): bands of the queue that are more than ten years apart."""
_BAND_MS = 1e3 * BONUS_S / 5
_OF_PEOPLE = 1_000_000
"""Added to the revision of a person's final, so that it outranks every one of the model's."""
_items = msgspec.msgpack.Decoder(Item)


class RedisReviews:
    """Every method raises IndexAway when Redis does not answer."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._lane = RedisLane(url, timeout_s)

    async def close(self) -> None:
        await self._lane.close()

    async def enqueue(
        self, queue: str, item: Item, score: float, retry: bytes | None = None, view: bytes = b"", revision: int = 1,
        caller: str = "",
    ) -> None:  # fmt: skip
        """Puts an item in the queue unless it is known already; and the view of a prediction that waits for it, if given,
        where GET finds it."""
        shown = [_view(item.prediction, view, item.blob, revision, caller=caller)] if view else []
        await self.run(
            script(
                "enqueue", [key(queue, "waiting"), _item(queue, item.id), key(queue, "retry")],
                item.id, score, msgspec.msgpack.encode(item), retry or b"", revision, _passed_by(item.not_by),
            ),
            *shown,
            ("SADD", "sr:queues", queue),
        )  # fmt: skip

    async def put_view(
        self, item: str, view: bytes, blob: str, final: bytes | None, retention_s: int, revision: int = 1,
        caller: str = "",
    ) -> None:  # fmt: skip
        """The view of a prediction that no person is asked about, or is asked no more."""
        await self.run(_view(item, view, blob, revision, final or b"", revision, retention_s, caller))

    async def view(self, item: str) -> tuple[bytes, bytes | None, str]:
        """View, final state if there is one, blob key. Raises NotFound."""
        view, final, blob = (await self.run(("HMGET", f"sr:view:{item}", "view", "final", "blob")))[0]
        if view is None:
            raise NotFound(f"there is no prediction {item}; ids come from POST /v1/predictions")
        return view, final, blob.decode()

    async def caller(self, item: str) -> str:
        """Subject of whoever sent the image; empty where it is not known."""
        return ((await self.run(("HGET", f"sr:view:{item}", "caller")))[0] or b"").decode()

    async def item_state(self, queue: str, item: str) -> str | None:
        state = (await self.run(("HGET", _item(queue, item), "state")))[0]
        return state.decode() if state else None

    async def lease(self, queue: str, reviewer: str, count: int, seconds: int, only: Sequence[str] = ()) -> list[Lease]:
        """Up to `count` items, best first, none that this reviewer skipped. `only` restricts it to these ids."""
        chance = nonce()
        command = script(
            "lease", [key(queue, "waiting"), key(queue, "leases")],
            _item(queue, ""), reviewer, count, 1000 * seconds, chance, _PASS_OVER, *only,
        )  # fmt: skip
        now, found = (await self.run(command))[0]
        return [
            Lease(
                LeaseToken(queue, item_id.decode(), fence, chance), _items.decode(body),
                1000 * now, 1000 * (now + 1000 * seconds), retry or None,
            )
            for item_id, fence, body, retry in found
        ]  # fmt: skip

    async def extend(self, token: LeaseToken, seconds: int, shown_at: int | None = None) -> int:
        """The new expiry in microseconds; the first `shown_at` of a lease is kept. Raises Conflict when it is lost."""
        command = script(
            "extend", [_item(token.queue, token.item), key(token.queue, "leases")],
            token.item, _held_as(token), 1000 * seconds, shown_at or "",
        )  # fmt: skip
        reply = (await self.run(command))[0]
        if not isinstance(reply, int):
            raise _lost(reply)
        return 1000 * reply

    async def release(self, token: LeaseToken, skipped_by: str = "") -> None:
        """Gives an item back, to its old place. Raises Conflict when the lease is lost."""
        command = script(
            "release",
            [_item(token.queue, token.item), *(key(token.queue, name) for name in ("leases", "waiting"))],
            token.item, _held_as(token), skipped_by,
        )  # fmt: skip
        reply = (await self.run(command))[0]
        if reply != 1:
            raise _lost(reply)

    async def holding(self, token: LeaseToken) -> Holding:
        """Who holds an item and since when. A lease that answered already still tells; raises Conflict when it is lost."""
        fields = ("state", "token", "answered", "reviewer", "leased", "shown", "body")
        found = (await self.run(("HMGET", _item(token.queue, token.item), *fields)))[0]
        state, held, answered, reviewer, leased, shown, body = found
        mine = _held_as(token).encode()
        if answered != mine and (state != b"leased" or held != mine):
            raise _lost(state if state is not None else b"gone")
        return Holding(
            (reviewer or b"").decode(), 1000 * int(leased or 0), int(shown) if shown else None,
            _items.decode(body) if body else None,
        )  # fmt: skip

    async def answer(self, token: LeaseToken, payload: bytes) -> tuple[bytes, bool]:
        """Holds a verdict until it is journaled. The payload that stands, which is the first of this lease, and whether
        the index knows it to be journaled.

        Raises Conflict when the lease is lost.
        """
        command = script(
            "answer", [_item(token.queue, token.item), key(token.queue, "leases")],
            token.item, _held_as(token), payload, _ANSWER_HOLD_MS,
        )  # fmt: skip
        done, first, state = (await self.run(command))[0]
        if done == b"lost":
            raise _lost(state)
        return (cast(bytes, first) if done == b"replay" else payload), state == b"resolved"

    async def finish(
        self,
        queue: str,
        item: str,
        state: str,
        final: bytes,
        outcome: bytes,
        retention_s: int,
        payload: bytes = b"",
        revision: int = 1,
        prediction: str = "",
    ) -> None:
        """Closes an item because the journal says so, publishes the outcome once, and completes the view. An outcome or a final
        that is empty is none; `prediction` is left out where it is the item's own id."""
        names = ("leases", "waiting", "retry", "outcomes")
        rank = revision + (_OF_PEOPLE if state == "resolved" else 0)
        shown = [_view(prediction or item, b"", "", 0, final, rank, retention_s)] if final else []
        await self.run(
            script(
                "close", [_item(queue, item), *(key(queue, name) for name in names)],
                item, state, outcome, retention_s, payload,
            ),
            *shown,
            ("SADD", "sr:queues", queue),
        )  # fmt: skip

    async def sweep(self, queue: str, limit: int = 500) -> tuple[int, list[Held]]:
        """Returns expired leases to the queue; gives back how many, and the answers that must be rolled forward."""
        command = script(
            "sweep", [key(queue, "leases"), key(queue, "waiting")], _item(queue, ""), limit, _ANSWER_HOLD_MS
        )
        expired, held = (await self.run(command))[0]
        return expired, [Held(queue, item.decode(), payload) for item, payload in held]

    async def retryable(self, queue: str, count: int) -> list[str]:
        """Some waiting items that the returning model may take back."""
        members = (await self.run(("SRANDMEMBER", key(queue, "retry"), count)))[0]
        return [member.decode() for member in members]

    async def no_retry(self, queue: str, item: str) -> None:
        """The returning model leaves this item to people."""
        await self.run(("SREM", key(queue, "retry"), item), ("HDEL", _item(queue, item), "retry"))

    async def queues(self) -> list[str]:
        return sorted(name.decode() for name in (await self.run(("SMEMBERS", "sr:queues")))[0])

    async def stats(self, queue: str, now_us: int) -> QueueStats:
        """The oldest is looked for in each band of the queue: a bonus is no age."""
        now = now_us / 1e3
        waiting, leased, *firsts = await self.run(
            ("ZCARD", key(queue, "waiting")),
            ("ZCARD", key(queue, "leases")),
            *(
                ("ZRANGEBYSCORE", key(queue, "waiting"), now - bonus - _BAND_MS, now - bonus + _BAND_MS,
                 "WITHSCORES", "LIMIT", 0, 1)
                for bonus in _BONUSES_MS
            ),
        )  # fmt: skip
        came = [float(_flat(first)[1]) + bonus for first, bonus in zip(firsts, _BONUSES_MS, strict=True) if first]
        return QueueStats(waiting, leased, max(0.0, (now - min(came)) / 1e3) if came else 0.0)

    async def outcomes(self, queue: str, after: str, count: int) -> list[tuple[str, bytes]]:
        """Outcomes after a stream id. Never waits: a blocked connection for each listener would use up the pool."""
        command = ("XRANGE", key(queue, "outcomes"), f"({after}", "+", "COUNT", count)
        entries = (await self.run(command))[0]
        return [(entry_id.decode(), fields[fields.index(b"outcome") + 1]) for entry_id, fields in entries]

    async def epoch(self, candidate: str) -> str:
        """The index's epoch, set to `candidate` when there is none: it changes when Redis was wiped."""
        _, epoch = await self.run(("SET", "sr:epoch", candidate, "NX"), ("GET", "sr:epoch"))
        return cast(bytes, epoch).decode()

    async def checkpoint(self, node: str) -> Position | None:
        """How far a node's journal is indexed; None when never."""
        stored = (await self.run(("GET", f"sr:checkpoint:{node}")))[0]
        if stored is None:
            return None
        segment, offset = stored.decode().split(":")
        return Position(int(segment), int(offset))

    async def set_checkpoint(self, node: str, position: Position) -> None:
        await self.run(("SET", f"sr:checkpoint:{node}", f"{position.segment}:{position.offset}"))

    async def info(self) -> dict[str, str]:
        """What the server says of itself."""
        lines = (await self.run(("INFO",)))[0].decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    async def run(self, *commands: Command) -> list[Any]:
        """One round trip. Scripts are sent by digest, and again in full to a server that does not know them."""
        try:
            try:
                return await self._lane.run(commands)
            except NoScriptError:
                await self._lane.run([("SCRIPT", "LOAD", source) for source in _SOURCES.values()])
                return await self._lane.run(commands)
        except (RedisError, OSError) as error:
            raise _away(error) from error


def key(queue: str, name: str) -> str:
    return f"sr:{{{queue}}}:{name}"


def _item(queue: str, item: str) -> str:
    return key(queue, f"item:{item}")


def _passed_by(reviewers: Sequence[str]) -> str:
    """As the scripts keep who is not given an item."""
    return "".join(f"\0{name}" for name in reviewers) + "\0" if reviewers else ""


def _held_as(token: LeaseToken) -> str:
    return f"{token.fence}~{token.nonce}"


def script(name: str, keys: Sequence[str], *arguments: Any) -> Command:
    return ("EVALSHA", _DIGESTS[name], len(keys), *keys, *arguments)


def _view(
    item: str, view: bytes, blob: str, revision: int, final: bytes = b"", rank: int = 0, retention_s: int | str = "",
    caller: str = "",
) -> Command:  # fmt: skip
    return script("view", [f"sr:view:{item}"], view, blob, revision, final, rank, retention_s, caller)


def _flat(pairs: Any) -> list[Any]:
    return list(pairs[0]) if isinstance(pairs[0], list | tuple) else list(pairs)


def _lost(state: bytes) -> Conflict:
    words = {
        "waiting": "the lease expired and the item waits for the next reviewer",
        "leased": "the lease expired and somebody else has the item",
        "answering": "somebody else answered the item",
        "resolved": "the item is answered already",
        "withdrawn": "the model came back and answered the item",
        "gone": "there is no such item",
    }
    return Conflict(f"{words[state.decode()]}; lease the next one")


def _away(error: Exception) -> IndexAway:
    return IndexAway(f"Redis does not answer ({type(error).__name__}); predictions go on, try this again soon")
