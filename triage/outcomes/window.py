"""The messages of one webhook that are on their way: which may be tried now, and how far everything is done. Pure.

* Messages of one prediction go one after the other, in the order in which they were published.
* A message that fails waits longer each time; those of other predictions go on meanwhile.
* While nothing at all gets through, one message at a time asks whether the receiver is back, at least each minute and the least
  tried first, and none is given up for its tries; when one gets through, the others begin anew.
* A message that fails `tries` times while others get through, or for `give_up_hours`, is given up.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

from triage.control.webhook_document import WebhookDocument
from triage.outcomes.position import Feed, StreamId

LONGEST_S = 3600.0
_PROBE_S = 60.0
_DOWN = 3
"""So many failures in a row: the receiver is down."""


@dataclass
class Message:
    """`redo`: it was a dead letter, and `at` is its place in that stream."""

    feed: Feed
    at: StreamId
    id: str
    prediction: str
    body: bytes
    born_s: float
    """Since the epoch: what `give_up_hours` counts from."""
    redo: bool = False
    tries: int = 0
    due_s: float = 0.0
    under_way: bool = False
    first_s: float = 0.0


class Window:
    def __init__(self, document: WebhookDocument, chance: random.Random | None = None) -> None:
        self._document = document
        self._chance = chance or random.Random()
        self._messages: dict[tuple[Feed, bool, StreamId], Message] = {}
        """In the order in which they were added."""
        self._chains: dict[str, deque[Message]] = {}
        self._read: dict[Feed, StreamId] = {}
        self._failures = 0
        self._pause_until_s = 0.0
        self._got_through_s = float("-inf")

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: Message) -> None:
        self._messages[_key(message)] = message
        self._chains.setdefault(message.prediction, deque()).append(message)

    def read(self, feed: Feed, to: StreamId) -> None:
        """Everything of a stream up to here was added, or is not wanted."""
        self._read[feed] = to

    def cursor(self) -> dict[Feed, StreamId]:
        """How far everything of each stream is done."""
        done = dict(self._read)
        for message in self._messages.values():
            if not message.redo:
                done[message.feed] = min(done[message.feed], message.at.before())
        return done

    def oldest_s(self) -> float | None:
        return min((message.born_s for message in self._messages.values()), default=None)

    @property
    def down(self) -> bool:
        return self._failures >= _DOWN

    def start(self, now_s: float) -> list[Message]:
        """The messages that are to be tried now; they are under way until they got through or failed."""
        if now_s < self._pause_until_s:
            return []
        free = (1 if self.down else self._document.at_once) - sum(each.under_way for each in self._messages.values())
        waiting = [message for message in self._heads() if not message.under_way]
        if self.down:
            chosen = sorted(waiting, key=lambda message: message.tries)[: max(free, 0)]
        else:
            chosen = [message for message in waiting if message.due_s <= now_s][: max(free, 0)]
        for message in chosen:
            message.under_way = True
            message.first_s = message.first_s or now_s
        return chosen

    def next_s(self) -> float | None:
        """When something is to be tried at the earliest; None while nothing waits but for an end."""
        due = [0.0 if self.down else message.due_s for message in self._heads() if not message.under_way]
        return max(min(due), self._pause_until_s) if due else None

    def got_through(self, message: Message, now_s: float) -> None:
        if self.down:
            for each in self._messages.values():
                each.tries, each.due_s = 0, 0.0
        self._failures, self._pause_until_s, self._got_through_s = 0, 0.0, now_s
        self._gone(message)

    def failed(self, message: Message, now_s: float, retry_after_s: float) -> bool:
        """Whether the message is to be given up; it is under way until somebody wrote it down and says `given_up`."""
        message.tries += 1
        self._failures += 1
        too_often = message.tries >= self._document.tries and self._got_through_s >= message.first_s
        if too_often or now_s - message.born_s >= 3600 * self._document.give_up_hours:
            return True
        message.under_way = False
        message.due_s = now_s + max(self._wait(message.tries), retry_after_s)
        pause = min(self._wait(self._failures - _DOWN + 1), _PROBE_S) if self.down else 0.0
        self._pause_until_s = max(self._pause_until_s, now_s + max(pause, retry_after_s))
        return False

    def given_up(self, message: Message) -> None:
        self._gone(message)

    def _wait(self, tries: int) -> float:
        longest = min(LONGEST_S, self._document.first_retry_s * 2.0 ** min(tries - 1, 30))
        return longest * self._chance.uniform(0.5, 1.0)

    def _heads(self) -> list[Message]:
        return [message for message in self._messages.values() if self._chains[message.prediction][0] is message]

    def _gone(self, message: Message) -> None:
        del self._messages[_key(message)]
        chain = self._chains[message.prediction]
        chain.popleft()
        if not chain:
            del self._chains[message.prediction]


def _key(message: Message) -> tuple[Feed, bool, StreamId]:
    return message.feed, message.redo, message.at
