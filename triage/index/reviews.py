"""The review queue, the views for GET and the outcome stream, in Redis. An index: the journal can make it again.

Every change of an item is one script in `lua/`, and `lua/items.lua` says how an item lies in Redis. Times are the server's own,
so gateways' clocks do not matter; `sr:queues` names the queues that ever held something. What else there is: audits.py,
cases.py, truths.py, verdicts.py, views.py, connection.py.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

import msgspec

from triage.errors import Conflict, IndexAway, NotFound
from triage.index import views
from triage.index.connection import RedisIndex
from triage.index.lane import Command
from triage.index.packing import pack, unpack
from triage.index.scripts import key, script
from triage.index.views import Shown
from triage.index.whole import Whole
from triage.reviewing.item import DeadLetter, Ending, Held, Holding, Item, Lease, LeaseToken, QueueStats, Swept, nonce

log = logging.getLogger(__name__)
_PASS_OVER = 1000
"""Items that one script passes over in a lane of many kinds; then another script reads on."""
_OF_A_CASE = 100
"""Items that one reviewer is given of a case at once."""
_ANSWER_HOLD_MS = 10_000
"""After this long an answer that is not journaled is rolled forward by whoever sweeps."""
_OF_PEOPLE = 1_000_000
"""Added to the revision of a person's final, so that it outranks every one of the model's."""
_items = msgspec.msgpack.Decoder(Item)


class RedisReviews(RedisIndex):
    """Every method raises IndexAway when Redis does not answer. `clock` gives ms since the epoch in place of the server's."""

    def __init__(self, url: str, timeout_s: float, clock: Callable[[], int] | None = None) -> None:
        super().__init__(url, timeout_s)
        self._clock = clock
        self.incomplete: Callable[[], bool] = lambda: False
        """Whether the index is behind, so that what is not found may be there all the same."""
        self.whole: Whole | None = None
        """Set by who serves: asked before anything is given out."""

    async def enqueue(
        self, queue: str, item: Item, score: float, retry: bytes | None = None, view: bytes = b"", revision: int = 1,
        caller: str = "", told: bool = False,
    ) -> None:  # fmt: skip
        """Puts an item in the queue unless it is known already; and the view of a prediction that waits for it, if given,
        where GET finds it. `told`: the view says all of the item, which then takes no room of its own."""
        await self.run(
            *([views.put(item.prediction, view, item.blob, revision, caller=caller)] if view else []),
            self._call(
                queue, "enqueue",
                item.id, score, b"" if told else pack(msgspec.msgpack.encode(item)), pack(retry) if retry else b"",
                revision, _passed_by(item.not_by), item.site, item.case or "", " ".join(item.reasons),
                "e" if item.evidence else "c", item.received_at / 1e3,
            ),
            ("SADD", "sr:queues", queue),
        )  # fmt: skip

    async def put_view(
        self, item: str, view: bytes, blob: str, final: bytes | None, retention_s: int, revision: int = 1,
        caller: str = "",
    ) -> None:  # fmt: skip
        """The view of a prediction that no person is asked about, or is asked no more."""
        rank = revision if final else -1
        await self.run(views.put(item, view, blob, revision, final or b"", rank, retention_s, caller))

    async def view(self, item: str) -> tuple[bytes, bytes | None, str]:
        """View, final state if there is one, blob key. Raises NotFound, or IndexAway when the index is not complete."""
        shown = views.read((await self.run(views.look(item)))[0])
        if shown is None and (self.incomplete() or (self.whole and not await self.whole.step())):
            raise IndexAway("the index is being brought up to date; ask again soon")
        if shown is None:
            raise NotFound(f"there is no prediction {item}; ids come from POST /v1/predictions")
        return shown.view, shown.final, shown.blob

    async def caller(self, item: str) -> str:
        """Subject of whoever sent the image; empty where it is not known."""
        shown = views.read((await self.run(views.look(item)))[0])
        return shown.caller if shown else ""

    async def item_state(self, queue: str, item: str) -> str | None:
        state = (await self.run(("HGET", key(queue, f"item:{item}"), "s")))[0]
        return state.decode() if state else None

    async def lease(
        self, queue: str, reviewer: str, count: int, seconds: int, only: Sequence[str] = (), by_case: bool = False,
        sites: Collection[str] | None = None, holder: str = "",
    ) -> list[Lease]:  # fmt: skip
        """Up to `count` items, best first, none that is not for this reviewer.

        `by_case`: the best one and what waits of its case, instead. `sites` restricts it to these, `only` to these ids.
        `holder`: subject of whoever asks, for whom alone the tokens work.
        """
        chance, now, start, found = nonce(holder), 0, 0, list[Any]()
        if sites is not None and not sites:
            return []
        mark = await self.whole.ready(queue) if self.whole else None
        connection = self.connections
        while start >= 0 and not found:
            command = self._call(
                queue, "lease", reviewer, count, 1000 * seconds, chance, _PASS_OVER, start,
                _OF_A_CASE if by_case else "", len(sites or ()), *(sites or ()), *only,
            )  # fmt: skip
            marked, (now, found, start) = await self.run(("GET", key(queue, "whole")), command)
            if self.whole and (marked != (mark or "").encode() or connection != self.connections):
                await self._given_back(queue, found, chance)
        items = await self._items([(item_id.decode(), body) for item_id, _, body, _ in found])
        return [
            Lease(
                LeaseToken(queue, item_id.decode(), fence, chance), item, 1000 * now, 1000 * (now + 1000 * seconds),
                unpack(retry) if retry else None,
            )
            for (item_id, fence, _, retry), item in zip(found, items, strict=True)
            if item is not None
        ]  # fmt: skip

    async def _given_back(self, queue: str, found: Sequence[Any], chance: str) -> None:
        """The index was lost just while items were taken out of it: nobody is given them. Raises IndexAway."""
        assert self.whole is not None
        for item_id, fence, *_ in found:
            with contextlib.suppress(Conflict):
                await self.release(LeaseToken(queue, item_id.decode(), fence, chance))
        raise self.whole.lacking()

    async def _items(self, stored: Sequence[tuple[str, bytes]]) -> list[Item | None]:
        """Items from their bodies; of one that has none its view tells all. None where that is gone: such an item is leased
        until it is a dead letter, and stands in nobody's way."""
        without = [item_id for item_id, body in stored if not body]
        replies = await self.run(*map(views.look, without)) if without else []
        shown = {name: views.read(reply) for name, reply in zip(without, replies, strict=True)}
        return [_item(item_id, body, shown.get(item_id)) for item_id, body in stored]

    async def extend(self, token: LeaseToken, seconds: int, shown_at: int | None = None) -> int:
        """The new expiry in microseconds; the first `shown_at` of a lease is kept. Raises Conflict when it is lost."""
        command = self._call(token.queue, "extend", token.item, _held_as(token), 1000 * seconds, shown_at or "")
        reply = (await self.run(command))[0]
        if not isinstance(reply, int):
            raise _lost(reply)
        return 1000 * reply

    async def release(self, token: LeaseToken, skipped_by: str = "") -> None:
        """Gives an item back, to its old place. Raises Conflict when the lease is lost."""
        reply = (await self.run(self._call(token.queue, "release", token.item, _held_as(token), skipped_by)))[0]
        if reply != 1:
            raise _lost(reply)

    async def leave(self, queue: str, reviewers: Collection[str]) -> int:
        """Returns what these reviewers have to the queue; how many items that was."""
        return int((await self.run(self._call(queue, "leave", *reviewers)))[0]) if reviewers else 0

    async def held(self, queue: str, reviewer: str) -> int:
        """How many items a reviewer has."""
        return int((await self.run(self._call(queue, "held", reviewer)))[0])

    async def answered(self, queues: Sequence[str], reviewer: str, since_ms: float) -> int:
        """How many items a reviewer has answered since, within the last two days."""
        counts = await self.run(*(("ZCOUNT", key(queue, f"did:{reviewer}"), since_ms, "+inf") for queue in queues))
        return sum(counts)

    async def holding(self, token: LeaseToken) -> Holding:
        """Who holds an item and since when. A lease that answered already still tells; raises Conflict when it is lost."""
        found, body, view = await self.run(
            ("HMGET", key(token.queue, f"item:{token.item}"), "s", "t", "a", "w", "e", "h"),
            ("GET", key(token.queue, f"body:{token.item}")),
            views.look(token.item),
        )
        state, held, answered, reviewer, leased, shown = found
        mine = _held_as(token).encode()
        if answered != mine and (state != b"leased" or held != mine):
            raise _lost(state if state is not None else b"gone")
        asked = state in (b"leased", b"answering")
        return Holding(
            (reviewer or b"").decode(), 1000 * int(leased or 0), int(shown) if shown else None,
            _item(token.item, body or b"", views.read(view)) if asked else None,
        )  # fmt: skip

    async def mark(self, queue: str) -> tuple[str, int | None]:
        """The mark that a queue carries when it is whole, and the connection over which that is known; nothing where nobody
        serves. Raises IndexAway when it is not."""
        return (await self.whole.ready(queue), self.connections) if self.whole else ("", None)

    async def answer(self, token: LeaseToken, payload: bytes) -> tuple[bytes, bool]:
        """Holds a verdict until it is journaled. The payload that stands, which is the first of this lease, and whether
        the index knows it to be journaled.

        Raises Conflict when the lease is lost.
        """
        mark, over = await self.mark(token.queue)
        command = self._call(token.queue, "answer", token.item, _held_as(token), payload, _ANSWER_HOLD_MS, mark)
        done, first, state = (await self.run(command, over=over))[0]
        if done == b"lacking":
            assert self.whole is not None
            raise self.whole.lacking()
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
        reviewer: str = "",
        at: int = 0,
    ) -> None:
        """Closes an item because the journal says so, publishes the outcome once, and completes the view. An outcome or a final
        that is empty is none; `prediction` is left out where it is the item's own id; `at` (microseconds) is when the reviewer
        answered."""
        rank = {"resolved": revision + _OF_PEOPLE, "withdrawn": revision, "unresolved": 0}[state]
        await self.run(
            self._call(queue, "close", item, state, outcome, retention_s, payload, reviewer, at / 1e3, revision),
            *([views.put(prediction or item, b"", "", 0, final, rank, retention_s)] if final else []),
            ("SADD", "sr:queues", queue),
        )

    async def sweep(self, queue: str, attempts: int = 5, deadline_s: float | None = None, limit: int = 500) -> Swept:
        """Returns expired leases to the queue, takes out of it what expired so often or waits for longer than it may, and tells
        what has to be journaled: answers and ends."""
        deadline = "" if deadline_s is None else 1e3 * deadline_s
        command = self._call(queue, "sweep", limit, _ANSWER_HOLD_MS, attempts, deadline)
        expired, held, ending = (await self.run(command))[0]
        items = await self._items([(item.decode(), body) for item, _, body in ending])
        return Swept(
            expired,
            [Held(queue, item.decode(), payload) for item, payload in held],
            [
                Ending(queue, name.decode(), what.decode(), item)
                for (name, what, _), item in zip(ending, items, strict=True)
            ],
        )

    async def forget_ending(self, queue: str, item: str) -> None:
        """Nobody knows any more what an item was that the queue took out: there is nothing to journal."""
        await self.run(("HDEL", key(queue, "ending"), item), ("EXPIRE", key(queue, f"item:{item}"), 86_400))

    async def die(self, queue: str, item: str, number: int, stray_s: int) -> None:
        """An item is dead for the `number`th time, because the journal says so; of one that is not known this is remembered."""
        await self.run(self._call(queue, "die", item, number, stray_s), ("SADD", "sr:queues", queue))

    async def requeue(self, queue: str, item: str, number: int, stray_s: int) -> None:
        """An item that died for the `number`th time waits again, because the journal says so."""
        await self.run(self._call(queue, "requeue", item, number, stray_s), ("SADD", "sr:queues", queue))

    async def dead(self, queue: str, count: int, item: str | None = None) -> list[DeadLetter]:
        """What was leased too often without an answer, the latest first; or this one, if it is among it."""
        if item is None:
            flat = (await self.run(("ZREVRANGE", key(queue, "dead"), 0, count - 1, "WITHSCORES")))[0]
        else:
            score = (await self.run(("ZSCORE", key(queue, "dead"), item)))[0]
            flat = [] if score is None else [item.encode(), score]
        names, died = [name.decode() for name in flat[::2]], [int(float(score)) for score in flat[1::2]]
        found = await self.run(
            *(("HMGET", key(queue, f"item:{name}"), "d", "n") for name in names),
            *(("GET", key(queue, f"body:{name}")) for name in names),
        ) if names else []  # fmt: skip
        items = await self._items([(name, body or b"") for name, body in zip(names, found[len(names) :], strict=True)])
        return [
            DeadLetter(item, 1000 * at, int(number or 1), int(expiries or 0))
            for item, at, (number, expiries) in zip(items, died, found[: len(names)], strict=True)
            if item is not None
        ]

    async def retryable(self, queue: str, count: int) -> list[str]:
        """Some waiting items that the returning model may take back."""
        members = (await self.run(("SRANDMEMBER", key(queue, "retry"), count)))[0]
        return [member.decode() for member in members]

    async def no_retry(self, queue: str, item: str) -> None:
        """The returning model leaves this item to people."""
        await self.run(("SREM", key(queue, "retry"), item), ("DEL", key(queue, f"retry:{item}")))

    async def queues(self) -> list[str]:
        return sorted(name.decode() for name in (await self.run(("SMEMBERS", "sr:queues")))[0])

    async def stats(self, queue: str, sla_s: float | None = None) -> QueueStats:
        """Costs the same however much waits. Items older than `sla_s` that somebody waits for are overdue."""
        level = "" if sla_s is None else 1e3 * sla_s
        now, waiting, leased, dead, overdue, oldest, reasons, answered = (
            await self.run(self._call(queue, "stats", level))
        )[0]
        pairs = zip(reasons[::2], reasons[1::2], strict=True)
        return QueueStats(
            waiting, leased, max(0.0, (now - float(oldest)) / 1e3) if oldest else 0.0, dead, overdue, answered,
            {reason.decode(): int(count) for reason, count in sorted(pairs)},
        )  # fmt: skip

    async def outcomes(self, queue: str, after: str, count: int) -> list[tuple[str, bytes]]:
        """Outcomes after a stream id. Never waits: a blocked connection for each listener would use up the pool."""
        command = ("XRANGE", key(queue, "outcomes"), f"({after}", "+", "COUNT", count)
        entries = (await self.run(command))[0]
        return [(entry_id.decode(), fields[fields.index(b"outcome") + 1]) for entry_id, fields in entries]

    def _call(self, queue: str, name: str, *arguments: Any) -> Command:
        return script(name, [key(queue, "")], "" if self._clock is None else self._clock(), *arguments)


def _item(item: str, body: bytes, shown: Shown | None) -> Item | None:
    if body:
        return _items.decode(unpack(body))
    if shown is None:
        log.warning("an item of the queue has neither body nor view", extra={"item": item})
        return None
    return views.item_of(shown)


def _passed_by(reviewers: Sequence[str]) -> str:
    """As the scripts keep who is not given an item."""
    return "".join(f"\0{name}" for name in sorted(set(reviewers))) + "\0" if reviewers else ""


def _held_as(token: LeaseToken) -> str:
    return f"{token.fence}~{token.nonce}"


def _lost(state: bytes) -> Conflict:
    words = {
        "waiting": "the lease expired and the item waits for the next reviewer",
        "leased": "the lease expired and somebody else has the item",
        "answering": "somebody else answered the item",
        "resolved": "the item is answered already",
        "withdrawn": "the model came back and answered the item",
        "unresolved": "the item's deadline passed and its caller was told so",
        "dead": "the lease expired once too often and the item was set aside",
        "gone": "there is no such item",
    }
    return Conflict(f"{words[state.decode()]}; lease the next one")
