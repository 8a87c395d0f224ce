"""The life of one review item, as one table. Redis scripts carry it out; a test walks it against a real server.

    waiting    --lease-->    leased      a person (or the returning model) has it until the lease expires
    leased     --expire, release, skip, leave-->  waiting
    leased     --die-->      dead        the lease expired once too often: nobody is given it until somebody requeues it
    dead       --requeue-->  waiting
    leased     --answer-->   answering   the verdict is held in Redis, not yet in the journal
    answering  --resolve-->  resolved    the verdict is in the journal
    waiting    --withdraw--> withdrawn   the model came back and answers
    leased     --withdraw--> withdrawn   only by the holder of the lease, or when the journal already says so
    waiting    --overdue-->  unresolved  the deadline passed; so for what is leased or dead

`answering` never goes back: its payload is complete, and a sweeper rolls it forward when its gateway died. Whatever happened, a
person's word that the journal holds stands in the end, and the model's stands over nobody's.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from model_store.record import EarlierReading

Purpose = Literal["review", "audit", "recall", "gold"]
"""review: the caller waits for it. audit: the caller has the model's answer. recall: that answer is in doubt.
gold: the answer is known, and the reviewer is."""
State = Literal["waiting", "leased", "answering", "dead", "resolved", "withdrawn", "unresolved"]
Event = Literal[
    "lease", "expire", "release", "skip", "leave", "die", "requeue", "answer", "resolve", "withdraw", "overdue"
]

TRANSITIONS: dict[tuple[State, Event], State] = {
    ("waiting", "lease"): "leased",
    ("leased", "expire"): "waiting",
    ("leased", "release"): "waiting",
    ("leased", "skip"): "waiting",
    ("leased", "leave"): "waiting",
    ("leased", "die"): "dead",
    ("waiting", "die"): "dead",  # the journal is replayed onto a lost index
    ("dead", "requeue"): "waiting",
    ("leased", "answer"): "answering",
    ("answering", "resolve"): "resolved",
    ("waiting", "resolve"): "resolved",  # the journal is replayed onto a lost index; and the next two
    ("leased", "resolve"): "resolved",
    ("dead", "resolve"): "resolved",
    ("withdrawn", "resolve"): "resolved",  # so it was answered after all, and a person's word stands
    ("unresolved", "resolve"): "resolved",
    ("waiting", "withdraw"): "withdrawn",
    ("leased", "withdraw"): "withdrawn",
    ("dead", "withdraw"): "withdrawn",
    ("unresolved", "withdraw"): "withdrawn",
    ("waiting", "overdue"): "unresolved",
    ("leased", "overdue"): "unresolved",
    ("dead", "overdue"): "unresolved",
}
TERMINAL: frozenset[State] = frozenset({"resolved", "withdrawn", "unresolved"})
"""Nobody is asked any more."""
DIED, REQUEUED, UNRESOLVED = "item_died", "item_requeued", "item_unresolved"
"""Names of the events that the journal keeps of items, beside their verdicts."""
REVIEW = "review"
"""Name of the queue that every project has."""
_QUEUE = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})\.([a-z0-9][a-z0-9_-]{0,63})")

_RANDOM = 16
"""Hexadecimal digits of a nonce that are random; as many bind it to its holder."""


@dataclass(frozen=True)
class LeaseToken:
    """Proof of holding an item: `queue~item~fence~nonce`.

    The fence counts an item's leases; the nonce keeps a token from before a lost index from matching one given after it, and
    is bound to its holder: who finds somebody's token in a log or an address cannot answer with it.
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

    def held_by(self, holder: str) -> bool:
        """Whether it was given to this subject. One that was changed to say so is lost: the queue knows the nonce whole."""
        return hmac.compare_digest(self.nonce, _bound(self.nonce[:_RANDOM], holder))


def nonce(holder: str = "") -> str:
    """`holder`: subject of whoever leases; nobody's where the gateway itself does."""
    return _bound(secrets.token_hex(_RANDOM // 2), holder)


def _bound(random: str, holder: str) -> str:
    return random + hashlib.sha256(f"{random}~{holder}".encode()).hexdigest()[:_RANDOM]


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

    @property
    def evidence(self) -> bool:
        """It says how good the model is. What has to be complete for that has no deadline, and is no caller's wait."""
        return self.purpose != "review" or bool(self.drawn)


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
    """Of what is not answered."""
    dead: int = 0
    overdue: int = 0
    """Of what somebody waits for: older than the queue's service level."""
    answered: int = 0
    """In the last hour."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Reason -> unanswered items that have it."""


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


class Ending(NamedTuple):
    """An item that the queue took out, which the journal does not know yet."""

    queue: str
    item: str
    what: str
    """`unresolved`, or `dead N`: for the Nth time."""
    body: Item | None
    """None when nothing is known of it any more."""


class DeadLetter(NamedTuple):
    """An item that nobody is given until somebody requeues it."""

    item: Item
    at: int
    """Microseconds since the epoch."""
    number: int
    """How often it died."""
    expiries: int
    """Leases of it that expired since it was put into the queue."""


class Swept(NamedTuple):
    expired: int
    held: list[Held]
    ending: list[Ending]


def queue_of(project: str, name: str = REVIEW) -> str:
    """The name of a project's queue. It carries the project, so that a token alone finds its place."""
    return f"{project}.{name}"


def project_of(queue: str) -> str | None:
    """The project that a queue of this name belongs to; None for a name that no queue has."""
    found = _QUEUE.fullmatch(queue)
    return found[1] if found else None


def name_of(queue: str) -> str | None:
    """The queue's name within its project, as its document is called; None for a name that no queue has."""
    found = _QUEUE.fullmatch(queue)
    return found[2] if found else None
