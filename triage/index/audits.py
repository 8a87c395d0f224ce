"""Draws, their readings and the evidence of each class, in Redis beside the queue. An index: the journal can make it again.

    sr:{<queue>}:draw:<prediction>            hash: its case, its classes, their rules, the readings
    sr:{<queue>}:drawn                        set: `<site> <label>` of the classes that somebody waits in line for
    sr:{<queue>}:ready                        set: the same of those of which something was read since they were looked at
    sr:{<queue>}:line:<site> <label>          sorted set, prediction -> time of arrival: what is not evidence yet
    sr:{<queue>}:taken:<site> <label>         the same of what is, the newest `REMEMBERED`
    sr:{<queue>}:cases:<site> <label>         the same of `<epoch>:<case>` that counted, the newest `REMEMBERED`
    sr:{<queue>}:evidence:<site> <label>      hash: version, body, floor (time of the newest draw that is forgotten)
    sr:{<queue>}:recalled:<recall>            set: predictions that callers were told of

A draw is taken and the evidence moved on in one script that compares versions, so that any gateway may do it and none twice.
What was taken is remembered, so that a replay of the journal cannot bring it back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from triage.index.reviews import RedisReviews
from triage.index.scripts import key, script
from triage.promise.audits import Draw, Reading
from triage.reviewing.item import nonce

REMEMBERED = 10_000
"""Draws of a class that may arrive late or again and be told apart; older ones are not let in any more. And cases that counted:
a case of which an image comes after so many others counts again."""
_STRAY_S = 30 * 86_400
"""How long a reading waits for its draw: it comes from another gateway's journal, which may be replayed much later."""


class Class(NamedTuple):
    """A class at a site."""

    site: str
    label: str

    def __str__(self) -> str:
        return f"{self.site} {self.label}"

    @classmethod
    def parse(cls, name: str) -> Class:
        site, _, label = name.partition(" ")
        return cls(site, label)


_readings = msgspec.msgpack.Decoder(Reading)


@dataclass(frozen=True)
class Stored:
    """Evidence with the version that has to stand when it is replaced."""

    version: str
    body: bytes | None


class RedisAudits:
    """Every method raises IndexAway when Redis does not answer."""

    def __init__(self, reviews: RedisReviews) -> None:
        self._reviews = reviews

    async def draw(
        self, queue: str, site: str, prediction: str, case: str, at: int, rules: Mapping[str, str],
        suspended: Collection[str],
    ) -> None:  # fmt: skip
        """Puts a prediction in line for the classes of `rules`, label -> hash of the rule that fired."""
        keys, arguments = [_draw(queue, prediction), key(queue, "drawn")], [prediction, str(at), case]
        for label, rule in rules.items():
            name = Class(site, label)
            keys += [key(queue, f"{kind}:{name}") for kind in ("line", "taken", "evidence")]
            arguments += [str(name), label, rule, str(int(label in suspended))]
        if rules:
            await self._reviews.run(script("draw", keys, *arguments))

    async def reading(
        self, queue: str, sites: Sequence[str], prediction: str, number: int, labels: Sequence[str], reading: Reading,
        reviewer: str,
    ) -> None:  # fmt: skip
        """What the first or second reading (1, 2) of a draw said; `labels` are those that were drawn, one at least, and `sites`
        where somebody may wait for them. Whoever was first is not the second, too."""
        keys = [_draw(queue, prediction), key(queue, "ready")]
        names = [str(Class(site, label)) for site in sites for label in labels]
        told = msgspec.msgpack.encode(reading)
        await self._reviews.run(script("reading", keys, number, reading.at, told, _STRAY_S, reviewer, *names))

    async def ready(self, queue: str, count: int) -> list[Class]:
        """Classes of which something was read, each given once; who is given one and dies is made up for by `drawn`."""
        (names,) = await self._reviews.run(("SPOP", key(queue, "ready"), count))
        return sorted(Class.parse(name.decode()) for name in names)

    async def drawn(self, queue: str) -> list[Class]:
        """The classes that a draw waits in line for."""
        (names,) = await self._reviews.run(("SMEMBERS", key(queue, "drawn")))
        return sorted(Class.parse(name.decode()) for name in names)

    async def line(self, queue: str, of: Class, count: int, epoch: int) -> list[Draw]:
        """The first draws of a class, in order of arrival, to be weighed in an epoch."""
        (flat,) = await self._reviews.run(("ZRANGE", key(queue, f"line:{of}"), 0, count - 1, "WITHSCORES"))
        waiting = [(flat[i].decode(), int(float(flat[i + 1]))) for i in range(0, len(flat), 2)]
        if not waiting:
            return []
        fields = ("case", f"rule:{of.label}", f"suspended:{of.label}", "said:1", "said:2")
        found = await self._reviews.run(*(("HMGET", _draw(queue, prediction), *fields) for prediction, _ in waiting))
        cases = [
            case.decode() if case else prediction for (prediction, _), (case, *_) in zip(waiting, found, strict=True)
        ]
        (scores,) = await self._reviews.run(
            ("ZMSCORE", key(queue, f"cases:{of}"), *(f"{epoch}:{case}" for case in cases))
        )
        return [
            Draw(
                prediction, of.label, at, (rule or b"").decode(), suspended == b"1", case, score is not None,
                (_said(first), _said(second)),
            )
            for (prediction, at), (_, rule, suspended, first, second), case, score in zip(
                waiting, found, cases, scores, strict=True
            )
        ]  # fmt: skip

    async def waiting(self, queue: str, classes: Sequence[Class]) -> list[int]:
        """How many draws of each class wait in line."""
        counts: list[int] = await self._reviews.run(*(("ZCARD", key(queue, f"line:{each}")) for each in classes))
        return counts

    async def evidence(self, queue: str, classes: Sequence[Class]) -> list[Stored]:
        found = await self._reviews.run(
            *(("HMGET", key(queue, f"evidence:{each}"), "version", "body") for each in classes)
        )
        return [Stored((version or b"").decode(), body) for version, body in found]

    async def take(
        self,
        queue: str,
        of: Class,
        stored: Stored,
        body: bytes,
        taken: Mapping[str, str],
        epoch: int = 0,
        again: bool = False,
    ) -> Stored | None:
        """Puts evidence in the place of `stored` and takes these draws out of line; None when another was faster.

        `taken`: prediction -> the case that it counted for in the epoch, '' for none.
        The class stays among the `drawn` while somebody is in line, or when it is to be looked at `again`.
        """
        after = Stored(nonce(), body)
        keys = [key(queue, f"{kind}:{of}") for kind in ("evidence", "line", "taken", "cases")]
        keys += [key(queue, "drawn"), *(_draw(queue, prediction) for prediction in taken)]
        pairs = (word for draw, case in taken.items() for word in (draw, f"{epoch}:{case}" if case else ""))
        (done,) = await self._reviews.run(
            script("evidence", keys, stored.version, after.version, body, str(of), REMEMBERED, int(again), *pairs)
        )
        return after if done else None

    async def tell_recall(self, queue: str, recall: str, prediction: str, outcome: bytes, retention_s: int) -> None:
        """Publishes an answer in doubt, once for each recall."""
        keys = [key(queue, f"recalled:{recall}"), key(queue, "outcomes")]
        await self._reviews.run(script("recall", keys, prediction, outcome, retention_s), ("SADD", "sr:queues", queue))


def _draw(queue: str, prediction: str) -> str:
    return key(queue, f"draw:{prediction}")


def _said(body: bytes | None) -> Reading | None:
    return None if body is None else _readings.decode(body)
