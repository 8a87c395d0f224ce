"""Sends a source's images in the service's own time.

* So many a second, so many at once; while the service is busy or away, longer and longer pauses, and nothing is lost.
* While the project's queues are over their service level, nothing.
* At most `cap` images a day go to people: an image is sent only while it and all under way could go there. The rest waits for
  the next day (UTC), in this process or in a later run.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import httpx

from triage.backfill.sources import Image, Source, SourceAway, key_of
from triage.backfill.state import REFUSED, State
from triage.client import Client, ServiceError

_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_LOOK_S = 5.0


@dataclass(frozen=True)
class Terms:
    project: str
    site: str
    about: dict[str, str]
    case_by_folder: bool = False
    rate: float = 10.0
    """Images a second."""
    at_once: int = 2
    cap: int = 200
    """Images a day that go to people."""
    wait: bool = False
    """At the cap, wait for tomorrow; else end, and go on in the next run."""
    give_up_s: float = 600.0
    """Of a service that is away."""


@dataclass(frozen=True)
class Ended:
    sent: int
    left: int
    """Images that wait for another day."""


_Try = Future[tuple[str, str, str]]


class Backfill:
    def __init__(
        self, client: Client, source: Source, state: State, terms: Terms,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._client = client
        self._source = source
        self._state = state
        self._terms = terms
        self._clock = clock
        self._sleep = sleep
        self._looked_at = float("-inf")
        self._behind = False
        self._watches = True
        self._next_at = time.monotonic()
        self._away_since: float | None = None
        self._pause = _PAUSE_S

    def run(self, images: Iterator[Image], step: Callable[[], None], say: Callable[[str], None]) -> Ended:
        """Sends what was not sent. Raises ServiceError when all would be refused, Unreachable, SourceAway."""
        waiting: list[Image] = []
        under_way: dict[_Try, Image] = {}
        sent = 0
        rest = (image for image in images if not self._state.has(image))
        with ThreadPoolExecutor(self._terms.at_once) as pool:
            while (image := waiting.pop() if waiting else next(rest, None)) is not None or under_way:
                if (
                    image is None
                    or len(under_way) >= self._terms.at_once
                    or (under_way and self._capped(len(under_way)))
                ):
                    waiting += [image] if image else []
                    sent += self._finish(under_way, waiting, step)
                elif self._capped(0) and not self._terms.wait:
                    say(f"{self._terms.cap} images went to people today; run it again tomorrow (UTC) for the others")
                    return Ended(sent, 1 + len(waiting) + sum(1 for _ in rest))
                elif self._capped(0) or self._over(say):
                    say("waits: people have enough to read")
                    waiting.append(image)
                    self._sleep(_LOOK_S)
                else:
                    self._keep_pace()
                    under_way[pool.submit(self._one, image)] = image
        return Ended(sent, 0)

    def _finish(self, under_way: dict[_Try, Image], waiting: list[Image], step: Callable[[], None]) -> int:
        """Waits for one, and notes what is done: how many."""
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        count = 0
        for future in done:
            image = under_way.pop(future)
            try:
                prediction, became, why = future.result()
            except (ServiceError, httpx.TransportError) as error:
                waiting.append(image)
                self._wait_for_it(error)
                continue
            self._away_since, self._pause = None, _PAUSE_S
            self._state.note(image, prediction, became, why, self._clock().date())
            count += 1
            step()
        return count

    def _one(self, image: Image) -> tuple[str, str, str]:
        """(prediction, what became of it, why it was refused)."""
        about: dict[str, Any] = {**self._terms.about, "project": self._terms.project, "site": self._terms.site}
        folder = image.name.rpartition("/")[0]
        if self._terms.case_by_folder and folder:
            about["case"] = folder[-200:]
        key = key_of(self._source, image, self._terms.project, self._terms.site)
        try:
            content = self._source.read(image.name)
            if not content:
                return "", REFUSED, "it is empty"
            reply = self._client.predict(content, key=key, backfill=True, **about)
        except ServiceError as error:
            if error.status in (413, 415, 422):
                return "", REFUSED, str(error)
            raise
        except SourceAway as error:
            return "", REFUSED, str(error)
        return reply["id"], reply["route"], ""

    def _capped(self, under_way: int) -> bool:
        return self._state.reviewed(self._clock().date()) + under_way >= self._terms.cap

    def _over(self, say: Callable[[str], None]) -> bool:
        now = time.monotonic()
        if self._watches and now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            try:
                queues = self._client.queues()
            except ServiceError as error:
                if error.status != 403:
                    raise
                self._watches = False
                say("this key may not see queues (queues.read): whether people are behind is not watched")
                return False
            mine = [each for each in queues if each["queue"].partition(".")[0] == self._terms.project]
            self._behind = any(each["overdue"] for each in mine)
        return self._behind

    def _keep_pace(self) -> None:
        now = time.monotonic()
        if self._next_at > now:
            self._sleep(self._next_at - now)
        self._next_at = max(now, self._next_at) + 1 / self._terms.rate

    def _wait_for_it(self, error: ServiceError | httpx.TransportError) -> None:
        """Raises the error when it will not get better, or has not for too long."""
        if isinstance(error, ServiceError) and error.status not in (429, 500, 502, 503, 504):
            raise error
        now = time.monotonic()
        self._away_since = self._away_since or now
        if now - self._away_since > self._terms.give_up_s:
            raise error
        self._sleep(max(self._pause, getattr(error, "retry_after_s", None) or 0.0))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)
