"""Callers who send until they are acknowledged, and reviewers who answer until the queue is empty. As real ones do, they try
again with the same key, at the other gateway when one does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
from collections.abc import Sequence

import httpx

from tests.bundles import picture
from tests.faults.ledger import Ledger

QUEUE = "default.review"
COLOURS = ("red", "green", "blue", "grey")
"""The first two are answered, the others reviewed."""
_PAUSE_S = 0.1
_TIMEOUT_S = 15.0


class Load:
    """Runs in an event loop of its caller until `stop`; what was begun is carried to its end."""

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
        self._senders = [asyncio.create_task(self._caller(number)) for number in range(self.callers)]
        self._readers = [asyncio.create_task(self._reviewer(number)) for number in range(self.reviewers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (*self._senders, *self._readers):
            task.cancel()
        await asyncio.gather(*self._senders, *self._readers, return_exceptions=True)
        await self._http.aclose()

    async def finish(self, drained_s: float = 60.0) -> None:
        """No new images; every sender gets its acknowledgement; reviewers empty the queue."""
        self._sending = False
        await asyncio.wait_for(asyncio.gather(*self._senders), drained_s)
        async with asyncio.timeout(drained_s):
            while await self._left():  # noqa: ASYNC110  # it is asked over HTTP
                await asyncio.sleep(_PAUSE_S)
        self._reading = False
        await asyncio.wait_for(asyncio.gather(*self._readers), drained_s)

    async def _left(self) -> int:
        try:
            body = (await self._http.get(f"{self.urls[0]}/v1/queues/{QUEUE}")).json()
            return int(body["waiting"]) + int(body["leased"])
        except (httpx.TransportError, KeyError, ValueError):
            return 1

    async def _caller(self, number: int) -> None:
        for turn in itertools.count():
            if not self._sending:
                return
            salt = number * 4096 + turn
            image = picture(COLOURS[salt % 4], salt=salt)
            await self._send(number, f"caller-{number}-{turn}", image)
            await asyncio.sleep(self.think_s)

    async def _send(self, number: int, key: str, image: bytes) -> None:
        sha256 = hashlib.sha256(image).hexdigest()
        for attempt in itertools.count():
            url = self.urls[(number + attempt) % len(self.urls)]
            try:
                reply = await self._http.post(f"{url}/v1/predictions", content=image, headers={"Idempotency-Key": key})
            except httpx.TransportError as error:
                self.ledger.callers_saw[type(error).__name__] += 1
                await asyncio.sleep(_PAUSE_S)
                continue
            self.ledger.callers_saw[str(reply.status_code)] += 1
            if reply.status_code == 200:
                body = reply.json()
                self.ledger.predicted(key, body["id"], sha256, body["route"])
                if "model_unavailable" in body["reasons"]:
                    self.ledger.callers_saw["deferred: model_unavailable"] += 1
                if "control_stale" in body["reasons"]:
                    self.ledger.callers_saw["deferred: control_stale"] += 1
                return
            if reply.status_code not in (429, 503):
                raise AssertionError(f"a caller was answered {reply.status_code}: {reply.text[:300]}")
            assert "retry-after" in reply.headers, reply.text
            await asyncio.sleep(_PAUSE_S)

    async def _reviewer(self, number: int) -> None:
        name = f"reviewer-{number}"
        for turn in itertools.count(number):
            if not self._reading:
                return
            url = self.urls[turn % len(self.urls)]
            try:
                body = {"reviewer": name, "count": 2, "wait": 1}
                reply = await self._http.post(f"{url}/v1/queues/{QUEUE}/leases", json=body)
            except httpx.TransportError as error:
                self.ledger.reviewers_saw[type(error).__name__] += 1
                await asyncio.sleep(_PAUSE_S)
                continue
            if reply.status_code != 200:
                self.ledger.reviewers_saw[f"lease {reply.status_code}"] += 1
                await asyncio.sleep(_PAUSE_S)
                continue
            found = reply.json()
            for item in found["items"]:
                await self._answer(turn, name, item)

    async def _answer(self, turn: int, name: str, item: dict[str, str]) -> None:
        said = {"outcome": "labels", "answers": {"other": "present"}}
        for attempt in itertools.count():
            url = self.urls[(turn + attempt) % len(self.urls)]
            try:
                reply = await self._http.post(f"{url}/v1/leases/{item['token']}/verdict", json=said)
            except httpx.TransportError as error:
                self.ledger.reviewers_saw[type(error).__name__] += 1
                await asyncio.sleep(_PAUSE_S)
                continue
            self.ledger.reviewers_saw[f"verdict {reply.status_code}"] += 1
            if reply.status_code == 200:
                self.ledger.verdict(item["item"], reply.json()["id"], name)
                return
            if reply.status_code == 409:  # the lease ran out while the service was away: somebody else is asked
                return
            if reply.status_code not in (429, 503):
                raise AssertionError(f"a reviewer was answered {reply.status_code}: {reply.text[:300]}")
            await asyncio.sleep(_PAUSE_S)

    def failed(self) -> list[str]:
        """What ended a caller or a reviewer before its time."""
        ended = [task for task in (*self._senders, *self._readers) if task.done() and not task.cancelled()]
        with contextlib.suppress(asyncio.InvalidStateError):
            return [str(error) for task in ended if (error := task.exception())]
        return []
