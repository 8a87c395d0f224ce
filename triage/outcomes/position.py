"""Where a listener stands in the streams that it follows, as one `Last-Event-ID`. Pure.

    1764000000000-3                      one queue: the stream's own id; of a project: this moment in each of its streams
    review=17640-3,second=17639-0        a project: each stream by its short name; one that is not named begins at its oldest

Redis gives an id by its clock, `<ms>-<n>`, and never a smaller one after a larger; so an id is also a moment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from triage.errors import BadRequest

_ID = re.compile(r"(\d{1,20})(?:-(\d{1,20}))?", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(\.automatic)?")
AUTOMATIC = ".automatic"
_LARGEST = 2**64 - 1


class StreamId(NamedTuple):
    ms: int
    n: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.n}"

    @classmethod
    def parse(cls, text: str) -> StreamId:
        """Raises ValueError for anything that is no id."""
        found = _ID.fullmatch(text)
        ms, n = (int(found[1]), int(found[2] or 0)) if found else (_LARGEST + 1, 0)
        if max(ms, n) > _LARGEST:
            raise ValueError(f"{text!r} is no id of a stream")
        return cls(ms, n)

    def before(self) -> StreamId:
        """The largest id that is smaller."""
        return StreamId(self.ms, self.n - 1) if self.n else StreamId(max(self.ms - 1, 0), _LARGEST)


START = StreamId(0, 0)
ANY_TIME = _LARGEST
"""Horizon of a stream that is trimmed by number: of any age something may be gone."""


class Feed(NamedTuple):
    """One stream: a queue's outcomes, or the model's own answers where a site tells them."""

    queue: str
    automatic: bool = False

    @property
    def name(self) -> str:
        """Within its project: the queue's name has the project in front."""
        return self.queue.partition(".")[2] + (AUTOMATIC if self.automatic else "")


@dataclass
class Position:
    """The last id that was told of each stream, by short name; `since` stands for those that are not named."""

    since: StreamId = START
    at: dict[str, StreamId] = field(default_factory=dict)

    def of(self, feed: Feed) -> StreamId:
        return self.at.get(feed.name, self.since)

    def move(self, feed: Feed, to: StreamId) -> None:
        self.at[feed.name] = to

    def told(self, single: bool) -> str:
        """As an event carries it: `single` where one stream alone is followed."""
        if single and len(self.at) == 1:
            return str(next(iter(self.at.values())))
        return ",".join(f"{name}={at}" for name, at in sorted(self.at.items())) or str(self.since)

    @classmethod
    def parse(cls, text: str) -> Position:
        """Raises BadRequest."""
        try:
            if "=" not in text:
                return cls(since=StreamId.parse(text))
            pairs = [pair.split("=") for pair in text.split(",")]
            if not all(len(pair) == 2 and _NAME.fullmatch(pair[0]) for pair in pairs):
                raise ValueError
            return cls(at={name: StreamId.parse(at) for name, at in pairs})
        except ValueError:
            raise BadRequest(
                "Last-Event-ID is no id of this stream; leave it out to begin at the oldest outcome kept"
            ) from None


def lost(at: StreamId, first: StreamId | None, last: StreamId, horizon_ms: int) -> StreamId | None:
    """Where to go on when outcomes after `at` may be gone; None when certainly none is.

    `first` and `last` are what the stream holds (None, and the largest id it ever had), `horizon_ms` is the moment before
    which it may have been trimmed.
    """
    if at > last:  # the stream was set back, with Redis: what it holds may be new although its ids are smaller
        return START
    if at != START and first is not None and first > at and at.ms < horizon_ms:
        return first.before()
    return None
