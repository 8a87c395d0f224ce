"""What Redis knows of one webhook: who delivers, how far, what could not be delivered.

sr:{webhook:<project>/<name>}:holder   the replica that delivers, until it stops renewing
                              fence    counts the holders; whoever holds an older number changes nothing any more
                              cursor   hash: stream -> everything up to this id is delivered, or a dead letter
                              dead     stream, bounded: the letters that were given up
                              redo     stream: dead letters that are to be sent again
                              last     hash: what the last try came to
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from triage.index.reviews import RedisReviews
from triage.outcomes.position import Feed, StreamId

HOLD_MS = 10_000
DEAD_KEPT = 10_000
_ACQUIRE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return tonumber(redis.call('GET', KEYS[2]))
end
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call('INCR', KEYS[2]) end
return 0
"""
_LEAVE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_MOVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if #ARGV > 1 then redis.call('HSET', KEYS[2], unpack(ARGV, 2)) end
return 1
"""
_BURY = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))
return 1
"""
_DONE_AGAIN = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call('XDEL', KEYS[2], ARGV[2])"
# A replay takes the hold away: the holder's window is of before it.
_REWIND = """
redis.call('INCR', KEYS[1])
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[3], unpack(ARGV))
return 1
"""
_REVIVE = """
local dead = redis.call('XRANGE', KEYS[1], '-', '+')
for _, entry in ipairs(dead) do redis.call('XADD', KEYS[2], '*', unpack(entry[2])) end
redis.call('DEL', KEYS[1])
return #dead
"""


class Name(NamedTuple):
    """A webhook of a project."""

    project: str
    webhook: str

    def __str__(self) -> str:
        return f"{self.project}/{self.webhook}"


@dataclass(frozen=True)
class Letter:
    """A message that was given up, or is to be sent again."""

    id: str
    """Of its entry."""
    body: bytes
    message: str
    why: str = ""
    tries: int = 0
    first_at: int = 0
    """When it was first tried, ms since the epoch."""


class FenceLost(Exception):
    """Another replica delivers by now, or a replay was asked for."""


class Ledger:
    """Every method raises IndexAway; those that take a fence raise FenceLost."""

    def __init__(self, reviews: RedisReviews) -> None:
        self._reviews = reviews

    async def acquire(self, names: list[Name], token: str) -> list[int]:
        """Takes or renews the hold of each webhook: its fence, 0 where another replica has it."""
        commands = [_eval(_ACQUIRE, [_key(name, "holder"), _key(name, "fence")], token, HOLD_MS) for name in names]
        found: list[int] = await self._reviews.run(*commands) if commands else []
        return found

    async def leave(self, name: Name, token: str) -> None:
        await self._reviews.run(_eval(_LEAVE, [_key(name, "holder")], token))

    async def cursor(self, name: Name) -> tuple[dict[str, StreamId], int]:
        """Stream -> id, and since when replayed messages count as young, ms since the epoch."""
        (flat,) = await self._reviews.run(("HGETALL", _key(name, "cursor")))
        found = _texts(flat)
        since = int(found.pop(".since", 0))
        return {feed: StreamId.parse(at) for feed, at in found.items()}, since

    async def move(self, name: Name, fence: int, at: Mapping[Feed, StreamId]) -> None:
        pairs = [word for feed, to in at.items() for word in (feed.name, str(to))]
        await self._fenced(_eval(_MOVE, [_key(name, "fence"), _key(name, "cursor")], fence, *pairs))

    async def bury(self, name: Name, fence: int, letter: Letter) -> None:
        fields = ("outcome", letter.body, "message", letter.message, "why", letter.why, "tries", letter.tries,
                  "first_at", letter.first_at)  # fmt: skip
        await self._fenced(_eval(_BURY, [_key(name, "fence"), _key(name, "dead")], fence, DEAD_KEPT, *fields))

    async def to_redo(self, name: Name, after: StreamId, count: int) -> list[Letter]:
        (found,) = await self._reviews.run(("XRANGE", _key(name, "redo"), f"({after}", "+", "COUNT", count))
        return [_letter(entry) for entry in found]

    async def redone(self, name: Name, fence: int, entry: str) -> None:
        await self._reviews.run(_eval(_DONE_AGAIN, [_key(name, "fence"), _key(name, "redo")], fence, entry))

    async def tried(self, name: Name, at: str, says: str, taken: bool) -> None:
        fields = ("at", at, "says", says, "taken", int(taken))
        await self._reviews.run(("HSET", _key(name, "last"), *fields))

    async def rewind(self, name: Name, to: Mapping[Feed, StreamId], now_ms: int) -> None:
        """Everything after these ids is sent again."""
        pairs = [word for feed, at in to.items() for word in (feed.name, str(at))]
        keys = [_key(name, "fence"), _key(name, "holder"), _key(name, "cursor")]
        await self._reviews.run(_eval(_REWIND, keys, ".since", now_ms, *pairs))

    async def revive(self, name: Name) -> int:
        """All dead letters are sent again; gives back how many."""
        (count,) = await self._reviews.run(_eval(_REVIVE, [_key(name, "dead"), _key(name, "redo")]))
        return int(count)

    async def state(self, name: Name, letters: int) -> dict[str, Any]:
        """For people: who delivers, how far, the newest dead letters."""
        holder, cursor, dead, redo, last, newest = await self._reviews.run(
            ("GET", _key(name, "holder")), ("HGETALL", _key(name, "cursor")), ("XLEN", _key(name, "dead")),
            ("XLEN", _key(name, "redo")), ("HGETALL", _key(name, "last")),
            ("XREVRANGE", _key(name, "dead"), "+", "-", "COUNT", letters),
        )  # fmt: skip
        told = _texts(last)
        return {
            "holder": holder.decode().partition("~")[0] if holder else None,
            "cursor": {feed: at for feed, at in _texts(cursor).items() if feed != ".since"},
            "dead": dead, "redo": redo,
            "last": {"at": told["at"], "says": told["says"], "taken": told["taken"] == "1"} if told else None,
            "letters": [_letter(entry) for entry in newest],
        }  # fmt: skip

    async def _fenced(self, command: tuple[Any, ...]) -> None:
        if (await self._reviews.run(command))[0] != 1:
            raise FenceLost


def _key(name: Name, part: str) -> str:
    return f"sr:{{webhook:{name}}}:{part}"


def _eval(source: str, keys: list[str], *arguments: Any) -> tuple[Any, ...]:
    return ("EVAL", source, len(keys), *keys, *arguments)


def _texts(flat: Any) -> dict[str, str]:
    words = [word.decode() for word in flat]
    return dict(zip(words[::2], words[1::2], strict=True))


def _letter(entry: tuple[bytes, list[bytes]]) -> Letter:
    entry_id, flat = entry
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    return Letter(
        entry_id.decode(), fields[b"outcome"], fields[b"message"].decode(), fields[b"why"].decode(),
        int(fields[b"tries"]), int(fields[b"first_at"]),
    )  # fmt: skip
