"""Cases in Redis: which images belong to one, and which cases are open. An index: the journal can make it again.

    sr:{<project>.review}:case:<site>/<case>:records     hash: image -> its newest record, MessagePack
    sr:{<project>.review}:case:<site>/<case>:revisions   hash: image -> the revision of that record
    sr:{<project>.review}:case:<site>/<case>:closed      set: images that the case was closed with
    sr:{<project>.review}:case:<site>/<case>:closing     who is closing it just now
    sr:{<project>.review}:open_cases                     sorted set: `<site>/<case>` -> ms at which it closes by itself

A case is open while one of its images was not closed with it: this is the same in whatever order records arrive, so a replay
of the journal ends where the case was.
"""

from __future__ import annotations

from dataclasses import dataclass

from model_store import record as records
from model_store.record import EventRecord, PredictionRecord
from triage.index.reviews import RedisReviews
from triage.index.scripts import key, script
from triage.reviewing.item import nonce, queue_of

CLOSED = "case_closed"
"""Name of the event that says with which images a case was closed: `detail["images"]`, separated by spaces."""
_CLOSING_MS = 30_000
_LATER = """
if redis.call('EXISTS', KEYS[1]) == 0 then return redis.call('ZREM', KEYS[2], ARGV[1]) end
return redis.call('ZADD', KEYS[2], 'XX', 'GT', ARGV[2], ARGV[1])
"""
_FREE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


@dataclass(frozen=True)
class Case:
    """A case of a site. `images` is every image's newest record, oldest first."""

    project: str
    site: str
    name: str
    images: tuple[PredictionRecord, ...]
    closed: frozenset[str]
    """Ids of the images that it was closed with."""
    due_ms: float | None
    """When it closes by itself, ms since the epoch; None while it is closed."""

    @property
    def open(self) -> bool:
        return self.due_ms is not None


class RedisCases:
    """Every method raises IndexAway. Applying a record again changes nothing."""

    def __init__(self, reviews: RedisReviews, retention_s: int) -> None:
        self._reviews = reviews
        self._retention_s = retention_s

    async def joined(self, record: PredictionRecord) -> None:
        """An image of a case is journaled."""
        assert record.case is not None
        wait_s = record.policy.case_wait_s
        due = record.received_at / 1e3 + 1e3 * wait_s
        await self._reviews.run(
            script(
                "case_member", _keys(record.project, record.site, record.case),
                record.id, record.revision, records.encode(record), _name(record.site, record.case), due,
                self._retention_s + int(wait_s),
            )
        )  # fmt: skip

    async def closed(self, event: EventRecord) -> None:
        """The event `case_closed` is journaled."""
        assert event.site is not None
        await self._reviews.run(
            script(
                "case_closed", _keys(event.project, event.site, event.subject), _name(event.site, event.subject),
                self._retention_s, *event.detail["images"].split(),
            )
        )  # fmt: skip

    async def left(self, project: str, site: str, name: str, prediction: str) -> None:
        """An image is purged: its case has it no longer, and is open no longer where it was the last that was not closed."""
        await self._reviews.run(script("case_left", _keys(project, site, name), prediction, _name(site, name)))

    async def read(self, project: str, site: str, name: str) -> Case | None:
        """None: no image of it is known, or none any more."""
        members, _, closed, open_cases = _keys(project, site, name)
        found, shut, due = await self._reviews.run(
            ("HVALS", members), ("SMEMBERS", closed), ("ZSCORE", open_cases, _name(site, name))
        )
        if not found:
            return None
        images = [record for each in found if isinstance(record := records.decode(each), PredictionRecord)]
        images.sort(key=lambda record: (record.received_at, record.id))
        return Case(
            project, site, name, tuple(images), frozenset(each.decode() for each in shut),
            None if due is None else float(due),
        )  # fmt: skip

    async def size(self, project: str, site: str, name: str) -> int:
        """How many images a case has."""
        return int((await self._reviews.run(("HLEN", _keys(project, site, name)[0])))[0])

    async def due(self, project: str, now_ms: float, count: int) -> list[tuple[str, str]]:
        """Site and name of cases whose time has come."""
        open_cases = key(queue_of(project), "open_cases")
        found = await self._reviews.run(("ZRANGEBYSCORE", open_cases, "-inf", now_ms, "LIMIT", 0, count))
        return [(site, name) for each in found[0] for site, _, name in (each.decode().partition("/"),)]

    async def later(self, project: str, site: str, name: str, at_ms: int) -> None:
        """A case that cannot be closed now is due again at this moment; one of which nothing is left is due no more."""
        members, *_, open_cases = _keys(project, site, name)
        await self._reviews.run(("EVAL", _LATER, 2, members, open_cases, _name(site, name), at_ms))

    async def begin_closing(self, case: Case) -> str | None:
        """A word that says that nobody else closes this case for half a minute; None when somebody does."""
        word = nonce()
        lock = _lock(case)
        taken = (await self._reviews.run(("SET", lock, word, "NX", "PX", _CLOSING_MS)))[0]
        return word if taken else None

    async def end_closing(self, case: Case, word: str) -> None:
        await self._reviews.run(("EVAL", _FREE, 1, _lock(case), word))


def _name(site: str, case: str) -> str:
    return f"{site}/{case}"


def _keys(project: str, site: str, case: str) -> list[str]:
    queue = queue_of(project)
    parts = [key(queue, f"case:{_name(site, case)}:{part}") for part in ("records", "revisions", "closed")]
    return [*parts, key(queue, "open_cases")]


def _lock(case: Case) -> str:
    return key(queue_of(case.project), f"case:{_name(case.site, case.name)}:closing")
