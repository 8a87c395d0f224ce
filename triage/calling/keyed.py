"""Idempotency keys: the same caller with the same key and the same request gets the same prediction, sent how often and to
which gateway it may be.

The id of a keyed prediction is derived from caller, key and request, and from nothing else: every gateway finds the same one,
with or without Redis. Two gateways that read the same request at once therefore make one item, one view and one audit draw.
Redis remembers which request a key stands for, so that another one with the same key is refused, and holds the answer that is
given again. While it is away each gateway remembers its own recent keys: what it answered it answers alike, another gateway
decides again under the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from triage.calling.about import About
from triage.errors import BadRequest, IndexAway, Invalid, NotFound
from triage.ids import derived_id
from triage.index.reviews import RedisReviews

_POLL_S = 0.05
_PATIENCE_S = 6.0
"""For a gateway that was asked the same first: longer than it waits for the model; then it may have died."""
_MOST = 4096
"""Recent keys in a gateway's memory, a few kB each at most."""


def check(key: str) -> str:
    """The key itself. Raises BadRequest."""
    if not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise BadRequest("the Idempotency-Key has to be 1 to 255 printable ASCII characters; send a UUID")
    return key


def fingerprint(sha256: str, about: About) -> str:
    """Of what is asked: the image's sha256 and everything said beside it, 64 hexadecimal digits. Not of the body's own bytes,
    since a form sent again has another boundary. Pure."""
    said = [about.project, about.site, about.case, about.view, about.role, about.person, sorted(about.source.items())]
    return hashlib.sha256(json.dumps([sha256, *said]).encode()).hexdigest()


def keyed_id(subject: str, key: str, fingerprint: str) -> str:
    """The prediction's id. Pure."""
    return derived_id("prediction", subject, key, fingerprint)


@dataclass
class _Recent:
    fingerprint: str
    reply: asyncio.Task[bytes]


class Keyed:
    """One object for the life of the gateway."""

    def __init__(self, reviews: RedisReviews, ttl_s: int) -> None:
        self._reviews = reviews
        self._ttl_s = ttl_s
        self._recent: OrderedDict[str, _Recent] = OrderedDict()

    async def answer(
        self, subject: str, key: str, fingerprint: str, predict: Callable[[str], Awaitable[bytes]]
    ) -> tuple[bytes, bool]:
        """The reply, and whether it was given before. `predict` takes the id. Raises Invalid when the key stands for another
        request, and what `predict` raises."""
        slot = hashlib.sha256(f"{subject}\0{key}".encode()).hexdigest()
        recent = self._recent.get(slot)
        if recent is not None:
            if recent.fingerprint != fingerprint:
                raise _other()
            self._recent.move_to_end(slot)
            return await asyncio.shield(recent.reply), True
        again = False

        async def first_here() -> bytes:
            nonlocal again
            prediction_id, name = keyed_id(subject, key, fingerprint), f"sr:key:{slot}"
            found = await self._found(name, fingerprint, prediction_id)
            again = found is not None
            if found is not None:
                return found
            try:
                return await predict(prediction_id)
            except BaseException:
                await self._free(name, fingerprint)
                raise

        task = asyncio.create_task(first_here())
        self._recent[slot] = _Recent(fingerprint, task)
        task.add_done_callback(lambda done: self._forget_failed(slot, done))
        while len(self._recent) > _MOST:
            self._recent.popitem(last=False)
        return await asyncio.shield(task), again

    def _forget_failed(self, slot: str, done: asyncio.Task[bytes]) -> None:
        """What was refused or failed is tried anew when it is sent again."""
        kept = self._recent.get(slot)
        if (done.cancelled() or done.exception() is not None) and kept is not None and kept.reply is done:
            del self._recent[slot]

    async def _found(self, name: str, fingerprint: str, prediction_id: str) -> bytes | None:
        """What any gateway answered to this, None when none did. Raises Invalid when the key stands for another request."""
        deadline = time.monotonic() + _PATIENCE_S
        try:
            while True:
                new, stands = await self._reviews.run(
                    ("SET", name, fingerprint, "NX", "EX", self._ttl_s), ("GET", name)
                )
                if stands is not None and stands.decode() != fingerprint:
                    raise _other()
                with contextlib.suppress(NotFound):
                    view, final, _ = await self._reviews.view(prediction_id)
                    return first_reply(view, final)
                if new or time.monotonic() > deadline:
                    return None
                await asyncio.sleep(_POLL_S)  # another gateway is at it, or was refused and leaves the key free
        except IndexAway:
            return None

    async def _free(self, name: str, fingerprint: str) -> None:
        """Of a request that came to nothing the key stands for nothing: whoever waits for it goes on."""
        with contextlib.suppress(IndexAway):
            (stands,) = await self._reviews.run(("GET", name))
            if stands == fingerprint.encode():
                await self._reviews.run(("DEL", name))


def first_reply(view: bytes, final: bytes | None) -> bytes:
    """The reply that was given first, from the view and the final that may have become another since. Pure."""
    said: dict[str, Any] = msgspec.json.decode(final) if final else {}
    if said.get("by") != "model":
        final = None
        told = msgspec.json.decode(view)
        if told["route"] == "automatic":  # people corrected it later
            labels = [label["id"] for label in told["labels"]]
            final = msgspec.json.encode({"labels": labels, "by": "model", "revision": 1, "at": told["received_at"]})
    return b'%b,"final":%b}' % (view[:-1], final or b"null")


def _other() -> Invalid:
    return Invalid(
        "this Idempotency-Key was sent with another image or other metadata; use a new key for a new request"
    )
