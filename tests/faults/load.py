"""Callers who send until they are acknowledged, and reviewers who answer, and think again, until the queue is empty. As real
ones do, they try again with the same key, at the other gateway when one does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import httpx

from tests.bundles import picture
from tests.faults.ledger import Ledger
from tests.faults.listener import listen

QUEUE = "default.review"
COLOURS = ("red", "green", "blue", "grey")
"""The first two are answered, the others reviewed."""
_PAUSE_S = 0.1
_TIMEOUT_S = 15.0
_SAID = {"outcome": "labels", "answers": {"other": "present"}}
_SAID_AGAIN = {"outcome": "labels", "answers": {"other": "absent"}}
_LATER_S = 6.0
"""An amendment so long after its verdict is a correction: the hold, of five seconds, is over."""


class Given(NamedTuple):
    """A verdict that was acknowledged."""

    item: str
    verdict: str
    revision: int


class Load:
    """Runs in an event loop of its caller until `finish`; what was begun is carried to its end."""

    def __init__(self, urls: Sequence[str], ledger: Ledger, callers: int, reviewers: int, think_s: float) -> None:
        self.urls = list(urls)
        self.ledger = ledger
        self.callers = callers
        self.reviewers = reviewers
        self.think_s = think_s
        self._sending = True
        self._reading = True
        limits = httpx.Limits(max_connections=callers + reviewers + 8, max_keepalive_connections=callers + reviewers)
        self._http = httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_S, limits=limits)

    async def __aenter__(self) -> Load:
        self._listening = asyncio.create_task(listen(self._http, self.urls, self.ledger))
        self._senders = [asyncio.create_task(self._caller(number)) for number in range(self.callers)]
        self._readers = [asyncio.create_task(self._reviewer(number)) for number in range(self.reviewers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = (*self._senders, *self._readers, self._listening)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.aclose()

    async def finish(self, drained_s: float = 90.0) -> None:
        """No new images; every sender gets its acknowledgement; reviewers empty the queue."""
        self._sending = False
        await asyncio.wait_for(asyncio.gather(*self._senders), drained_s)
        try:
            async with asyncio.timeout(drained_s):
                while await self._left():  # noqa: ASYNC110  # it is asked over HTTP
                    await asyncio.sleep(_PAUSE_S)
        except TimeoutError:
            raise AssertionError(f"the queue is not empty after {drained_s:.0f} s: {await self._queue()}") from None
        self._reading = False
        await asyncio.wait_for(asyncio.gather(*self._readers), drained_s)

    async def _left(self) -> int:
        found = await self._queue()
        return int(found["waiting"]) + int(found["leased"]) if found and "waiting" in found else 1

    async def _queue(self) -> dict[str, Any] | None:
        with contextlib.suppress(httpx.TransportError, ValueError):
            found: dict[str, Any] = (await self._http.get(f"{self.urls[0]}/v1/queues/{QUEUE}")).json()
            return found
        return None

    async def _caller(self, number: int) -> None:
        for turn in itertools.count():
            if not self._sending:
                return
            salt = number * 4096 + turn
            image = picture(COLOURS[salt % 4], salt=salt)
            await self._send(number, f"caller-{number}-{turn}", image)
            await asyncio.sleep(self.think_s)

    async def _send(self, number: int, key: str, image: bytes) -> None:
        began, saw = self.ledger.now(), self.ledger.callers_saw
        reply = await self._until_told(
            number, saw, "", "/v1/predictions", content=image, headers={"Idempotency-Key": key}
        )
        assert reply.status_code == 200, f"a caller was answered {reply.status_code}: {reply.text[:300]}"
        body = reply.json()
        self.ledger.predicted(key, body["id"], hashlib.sha256(image).hexdigest(), began)
        for reason in {"model_unavailable", "control_stale"} & set(body["reasons"]):
            saw[f"deferred: {reason}"] += 1

    async def _until_told(self, turn: int, saw: Counter[str], prefix: str, path: str, **what: Any) -> httpx.Response:
        """The first reply that does not say to come again, from one gateway or the other."""
        for attempt in itertools.count(turn):
            try:
                reply = await self._http.post(f"{self.urls[attempt % len(self.urls)]}{path}", **what)
            except httpx.TransportError as error:
                saw[prefix + type(error).__name__] += 1
                await asyncio.sleep(_PAUSE_S)
                continue
            saw[f"{prefix}{reply.status_code}"] += 1
            if reply.status_code not in (429, 503):
                return reply
            assert "retry-after" in reply.headers, reply.text
            await asyncio.sleep(_PAUSE_S)
        raise AssertionError  # there is no last attempt

    async def _reviewer(self, number: int) -> None:
        name, saw = f"reviewer-{number}", self.ledger.reviewers_saw
        later: list[tuple[float, Given]] = []
        answered = itertools.count(number)
        for turn in itertools.count(number):
            while later and (not self._reading or later[0][0] <= self.ledger.now()):
                await self._amend(turn, name, later.pop(0)[1])
            if not self._reading:
                return
            body = {"reviewer": name, "count": 2, "wait": 1}
            try:
                reply = await self._http.post(f"{self.urls[turn % len(self.urls)]}/v1/queues/{QUEUE}/leases", json=body)
            except httpx.TransportError as error:
                saw["lease " + type(error).__name__] += 1
                await asyncio.sleep(_PAUSE_S)
                continue
            if reply.status_code != 200:
                saw[f"lease {reply.status_code}"] += 1
                await asyncio.sleep(_PAUSE_S)
                continue
            for item in reply.json()["items"]:
                given = await self._answer(turn, name, item)
                which = next(answered) % 4
                if given and which == 0:
                    await self._amend(turn, name, given)
                if given and which == 2:
                    later.append((self.ledger.now() + _LATER_S, given))

    async def _answer(self, turn: int, name: str, item: dict[str, str]) -> Given | None:
        """None when the lease was lost: it ran out while the service was away, and somebody else is asked."""
        began, saw = self.ledger.now(), self.ledger.reviewers_saw
        reply = await self._until_told(turn, saw, "verdict ", f"/v1/leases/{item['token']}/verdict", json=_SAID)
        if reply.status_code == 409:
            return None
        assert reply.status_code == 200, f"a reviewer was answered {reply.status_code}: {reply.text[:300]}"
        given = Given(item["item"], reply.json()["id"], reply.json()["revision"])
        self.ledger.verdict(given.item, given.verdict, name, began)
        return given

    async def _amend(self, turn: int, name: str, given: Given) -> None:
        body = {**_SAID_AGAIN, "revision": given.revision, "reviewer": name}
        saw = self.ledger.reviewers_saw
        reply = await self._until_told(turn, saw, "amend ", f"/v1/verdicts/{given.verdict}/amend", json=body)
        assert reply.status_code == 200, f"an amendment was answered {reply.status_code}: {reply.text[:300]}"
        self.ledger.amended[given.item] = reply.json()["revision"]

    def failed(self) -> list[str]:
        """What ended a caller, a reviewer or the listener before its time."""
        ended = [task for task in (*self._senders, *self._readers, self._listening) if task.done()]
        return [str(error) for task in ended if not task.cancelled() and (error := task.exception())]
