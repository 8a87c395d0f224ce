"""Audits: which answers are read blind, and what the readings say of them. Pure.

    u = HMAC-SHA256(secret, prediction id), as a share of one
    a class is drawn when u is below its probability

One u serves every class of an image: within a class each firing has the same chance, so that no weights are needed. A reading
**confirms** a drawn class when it calls it present, and doubts it otherwise, whatever the reason; only the doubts of two
different readers make an error. An audit that is overdue counts as an error: nobody protects a class by looking away.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from model_store.record import Answer, Outcome
from triage.promise.claims import is_absence, label_of

Result = Literal["right", "wrong", "overdue"]
BONUS_S = 1e9
"""Brings audits before everything that waits."""


def case_key(case: str | None, sha256: str) -> str:
    """Short, and the same for all images that are right or wrong together: those of a case; without one, the same image."""
    name = f"image {sha256}" if case is None else f"case {case}"
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()


class Reading(NamedTuple):
    at: int
    doubts: tuple[str, ...]
    second_reader: bool
    """Whether a second reader is asked about these doubts."""


class Draw(NamedTuple):
    """One class's share in a prediction that is read blind. Times are microseconds since the epoch."""

    prediction: str
    label: str
    at: int
    rule: str
    suspended: bool
    case: str
    """`case_key`'s."""
    again: bool
    """An image of this case has counted in this epoch."""
    readings: tuple[Reading | None, Reading | None]


@dataclass(frozen=True)
class Chances:
    """With which probability a class's answers are read blind."""

    audit: float
    """A class that answers."""
    suspended: float
    """A class that is suspended and would answer."""
    labels: Mapping[str, float]
    """For single labels, instead of `audit`."""

    def of(self, claim: str) -> float:
        """Of a claim that an answer makes."""
        return self.labels.get(claim, self.labels.get(label_of(claim), self.audit))


def share(secret: bytes, prediction: str) -> float:
    """u: fixed by its arguments, in [0, 1), and not to be guessed without the secret."""
    digest = hmac.new(secret, prediction.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8]) / 2**64


def drawn(u: float, chance: Mapping[str, float]) -> tuple[str, ...]:
    """The classes for which an image is read blind."""
    return tuple(label for label, probability in chance.items() if u < probability)


def doubts(drawn: Collection[str], answers: Mapping[str, Answer], outcome: Outcome = "labels") -> tuple[str, ...]:
    """Those of the drawn claims that a reading does not confirm: it does not call the label present, or absent.

    Who finds none of the labels, or only one that is not among them, calls them all absent.
    """
    none = outcome in ("none_of_these", "new_label")

    def confirmed(claim: str) -> bool:
        if is_absence(claim):
            return none or answers.get(label_of(claim)) == "absent"
        return answers.get(claim) == "present"

    return tuple(claim for claim in drawn if not confirmed(claim))


def result(
    label: str, first: Collection[str] | None, second: Collection[str] | None, second_reader: bool, overdue: bool
) -> Result | None:
    """What two readings' doubts say of one drawn class; None while it is open. `first` and `second` are None until read."""
    if first is not None and label not in first:
        return "right"
    if first is not None and (not second_reader or second is not None):
        return "wrong" if second is None or label in second else "right"
    return "overdue" if overdue else None
