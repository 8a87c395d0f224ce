"""The life of one review item, as one table. Redis scripts carry it out; a test walks it against a real server.

    waiting   --lease-->    leased      a person (or the returning model) has it until the lease expires
    leased    --expire, release, skip-->  waiting
    leased    --answer-->   answering   the verdict is held in Redis, not yet in the journal
    answering --resolve-->  resolved    the verdict is in the journal
    waiting   --withdraw--> withdrawn   the model came back and answers
    leased    --withdraw--> withdrawn   only by the holder of the lease, or when the journal already says so

`answering` never goes back: its payload is complete, and a sweeper rolls it forward when its gateway died.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from model_store.record import EarlierReading

Purpose = Literal["review", "audit", "recall", "gold"]
"""review: the caller waits for it. audit: the caller has the model's answer. recall: that answer is in doubt.
gold: the answer is known, and the reviewer is."""
State = Literal["waiting", "leased", "answering", "resolved", "withdrawn"]
Event = Literal["lease", "expire", "release", "skip", "answer", "resolve", "withdraw"]

TRANSITIONS: dict[tuple[State, Event], State] = {
    ("waiting", "lease"): "leased",
    ("leased", "expire"): "waiting",
    ("leased", "release"): "waiting",
    ("leased", "skip"): "waiting",
    ("leased", "answer"): "answering",
    ("answering", "resolve"): "resolved",
    ("waiting", "resolve"): "resolved",  # the journal is replayed onto a lost index
    ("leased", "resolve"): "resolved",
    ("withdrawn", "resolve"): "resolved",  # so it was answered after all, and a person's word stands
    ("waiting", "withdraw"): "withdrawn",
    ("leased", "withdraw"): "withdrawn",
}
_QUEUE = ".review"
TERMINAL: frozenset[State] = frozenset({"resolved", "withdrawn"})
"""Nobody is asked any more."""


@dataclass(frozen=True)
class LeaseToken:
    """Proof of holding an item: `queue~item~fence~nonce`.

    The fence counts an item's leases; the nonce keeps a token from before a lost index from matching one given after it.
    """

    queue: str
    item: str
    fence: int
    nonce: str

    def __str__(self) -> str:
        return f"{self.queue}~{self.item}~{self.fence}~{self.nonce}"

    @classmethod
    def parse(cls, text: str) -> LeaseToken:
        """Raises ValueError for anything that is not a token."""
        queue, item, fence, nonce = text.split("~")
        if not (queue and item and nonce):
            raise ValueError("a part of the token is empty")
        return cls(queue, item, int(fence), nonce)


def nonce() -> str:
    return secrets.token_hex(8)


def score(received_at_us: int, bonus_s: float = 0.0) -> float:
    """Place in the queue, lowest first: the time of arrival less a bonus, in ms; static, so that age needs no updates."""
    return received_at_us / 1e3 - 1e3 * bonus_s


@dataclass(frozen=True)
class Item:
    """What a reviewer needs to know of one image; also what the queue stores. A new field has a default: the queue may hold
    items from before it."""

    id: str
    """The prediction's for an image that its caller waits for; another for every further reading."""
    project: str
    site: str
    case: str | None
    sha256: str
    received_at: int
    """Microseconds since the epoch."""
    reasons: tuple[str, ...]
    suggestions: tuple[dict[str, Any], ...] = ()
    """`{id, name, probability, state}`, best first."""
    prediction: str = ""
    """Left out, it is the item's own id."""
    revision: int = 1
    """Of the final that a verdict on this item gives: callers tell a later final from an earlier one by it."""
    purpose: Purpose = "review"
    blind: bool = False
    """Neither suggestions nor reasons are told, and every label is asked."""
    reading: int = 1
    drawn: tuple[str, ...] = ()
    """Classes for which the reading is evidence."""
    doubts: tuple[str, ...] = ()
    """In a second reading: those that the first did not confirm."""
    not_by: tuple[str, ...] = ()
    """Reviewers who are never given this item."""
    answered: tuple[str, ...] = ()
    """In a recall: the labels that the model had answered."""
    earlier: tuple[EarlierReading, ...] = ()
    """What others said of it before; told to adjudicators only."""
    adjudicates: bool = False
    """Whoever reads it has the last word."""
    gold_id: str = ""
    planted: str = ""
    """In a gold: the wrong label that is suggested first on purpose."""

    def __post_init__(self) -> None:
        if not self.prediction:
            object.__setattr__(self, "prediction", self.id)

    @property
    def blob(self) -> str:
        return f"{self.project}/{self.site}/{self.sha256}"


@dataclass(frozen=True)
class Lease:
    token: LeaseToken
    item: Item
    leased_at: int
    """Microseconds since the epoch on the queue's clock, as is the next."""
    expires_at: int
    retry: bytes | None = None
    """The journaled record, for items that the returning model may take back."""


@dataclass(frozen=True)
class QueueStats:
    waiting: int
    leased: int
    oldest_age_s: float


class Holding(NamedTuple):
    """What the queue knows of a lease: who, since when (microseconds), when the image was first shown, which item."""

    reviewer: str
    leased_at: int
    shown_at: int | None
    item: Item | None
    """None once the item is closed."""


class Held(NamedTuple):
    """An answer that was accepted and is not yet known to be in the journal: a verdict as MessagePack."""

    queue: str
    item: str
    payload: bytes


def queue_of(project: str) -> str:
    """The name of a project's queue. It carries the project, so that a token alone finds its place."""
    return f"{project}{_QUEUE}"


def project_of(queue: str) -> str | None:
    """The project whose queue has this name; None for a name that no queue has."""
    return queue.removesuffix(_QUEUE) if queue.endswith(_QUEUE) else None
