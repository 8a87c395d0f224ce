"""Purged images, out of their names and not gone yet: somebody who was just told that they are kept may not be seen from here.

_condemned/<sentence>/<project>/<site>/<sha256>.<since>    beside the images; `since` in microseconds, `sentence` a purge's id

Whoever sends bytes that are stored is promised at once that they are kept, and the record of it may lie for minutes in a
segment of another machine. So an image is first moved out of its name: who sends it from now on stores it anew. Each later
look puts back what a record turned out to need, and only what none needed in all of `SETTLED_S` is deleted for good. Until
then the copy stays, also of what was put back, so that nobody who is slow takes away the last one. No project can be named so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from triage.errors import NotFound
from triage.store.objects import Objects

FOLDER = "_condemned"
SETTLED_S = 3600.0
"""After so long every record that was promised before is in the log, and nobody writes any more what was read before."""
_PROMPT_S = 60.0
"""Whoever takes longer from the copy to the deletion was stopped in between, and counts the hour anew."""
_NAME = re.compile(rf"{FOLDER}/(?P<sentence>[^/]+)/(?P<image>[^/]+/[^/]+/[^/.]+)\.(?P<since>\d+)")


class Aside(NamedTuple):
    """One image that waits."""

    name: str
    """Where it lies."""
    sentence: str
    image: str
    """<project>/<site>/<sha256>, where it lay."""
    since: float
    """Seconds since the epoch."""


@dataclass
class Settled:
    """What became of one sentence's images in one look."""

    deleted: int = 0
    put_back: int = 0
    aside: int = 0
    until: float = 0.0
    """Seconds since the epoch: when the last one of them is ripe."""

    def waits(self, since: float) -> None:
        self.aside += 1
        self.until = max(self.until, since + SETTLED_S)


def waiting(blobs: Objects, sentence: str = "") -> Iterator[Aside]:
    """What waits in a store of images, by one sentence or by all. Raises Unavailable."""
    for entry in blobs.list(f"{FOLDER}/{sentence}" if sentence else FOLDER):
        if found := _NAME.fullmatch(entry.name):
            yield Aside(entry.name, found["sentence"], found["image"], int(found["since"]) / 1e6)


class Condemned:
    """The images of one sentence. Methods raise Unavailable; after a death at any step, once more does what is left."""

    def __init__(self, blobs: Objects, sentence: str, clock: Callable[[], float] = time.time) -> None:
        self._blobs = blobs
        self._sentence = sentence
        self._clock = clock

    def __iter__(self) -> Iterator[Aside]:
        return waiting(self._blobs, self._sentence)

    def condemn(self, image: str, done: Settled) -> bool:
        """Moves an image out of its name; False when it was not there. The copy is durable before the image goes."""
        try:
            data = self._blobs.get(image)
        except NotFound:
            return False
        since = self._copy(image, data)
        self._blobs.delete(image)
        if self._clock() - since > _PROMPT_S:
            since = self._copy(image, data)
        done.waits(since)
        return True

    def _copy(self, image: str, data: bytes) -> float:
        since = self._clock()
        self._blobs.put(f"{FOLDER}/{self._sentence}/{image}.{round(1e6 * since)}", data)
        return since

    def settle(self, needed: Callable[[str], bool], looked_at: float) -> Settled:
        """Puts back what is needed, where its name is empty, and deletes what was not for long enough. `needed` tells it of an
        image as it was at `looked_at` (seconds since the epoch) or later."""
        done = Settled()
        for each in self:
            ripe = looked_at - each.since > SETTLED_S
            if needed(each.image):
                try:
                    back = self._blobs.create(each.image, self._blobs.get(each.name))
                except NotFound:  # another gateway has decided meanwhile
                    continue
                done.put_back += back
                if back or not ripe:  # what was put back just now is looked at once more
                    done.waits(each.since)
                else:
                    self._blobs.delete(each.name)
            elif not ripe:
                done.waits(each.since)
            else:
                # Whose process died behind the copy, or who sent it again and never recorded it, left one in its name.
                self.condemn(each.image, done)
                self._blobs.delete(each.name)
                done.deleted += 1
        return done
