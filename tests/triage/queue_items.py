"""Items for tests of the queue, and what a test sees of one in Redis."""

from __future__ import annotations

from typing import Any

from redis import Redis

from triage.reviewing.item import Item

QUEUE = "default.review"


def item(
    name: str,
    received_at: int = 1_000_000,
    not_by: tuple[str, ...] = (),
    site: str = "default",
    case: str | None = None,
) -> Item:
    return Item(
        id=name, project="default", site=site, case=case, sha256="0" * 64, received_at=received_at,
        not_by=not_by, reasons=("none_fired",),
        suggestions=({"id": "red", "name": "Red", "probability": 0.5, "state": "automatic"},),
    )  # fmt: skip


def key(name: str) -> str:
    return f"sr:{{{QUEUE}}}:{name}"


def state_of(redis: Redis, name: str) -> str | None:
    state: Any = redis.hget(key(f"item:{name}"), "s")
    return state.decode() if state else None


def waiting(redis: Redis) -> set[str]:
    """The items that lie in any lane."""
    lanes: Any = redis.keys(key("lane:*"))
    return {name.decode() for lane in lanes for name in redis.zrange(lane, 0, -1)}  # type: ignore[union-attr]


def expire(redis: Redis, name: str) -> None:
    """Lets a lease, or the hold of an answer, be over: the server's clock has passed it."""
    assert redis.zadd(key("leases"), {name: 1}, xx=True, ch=True) == 1


def dump(redis: Redis) -> dict[str, Any]:
    """Everything in the database, in a form that two databases can be compared by. Times to live become booleans."""
    found: dict[str, Any] = {}
    names: Any = redis.keys("*")
    for name in sorted(names):
        kind = redis.type(name)
        if kind == b"hash":
            content: Any = redis.hgetall(name)
        elif kind == b"set":
            content = redis.smembers(name)
        elif kind == b"zset":
            content = redis.zrange(name, 0, -1, withscores=True)
        elif kind == b"stream":
            content = [fields for _, fields in redis.xrange(name)]  # type: ignore[union-attr]
        else:
            content = redis.get(name)
        found[name.decode()] = (content, int(redis.ttl(name)) > 0)
    return found
