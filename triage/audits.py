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
from typing import Literal

from model_store.record import Answer, Route

Result = Literal["right", "wrong", "overdue"]
BONUS_S = 1e9
"""Brings audits before everything that waits."""


@dataclass(frozen=True)
class Chances:
    """With which probability a class's answers are read blind."""

    audit: float
    """A class that answers."""
    suspended: float
    """A class that is suspended and would answer."""
    labels: Mapping[str, float]
    """For single classes, instead of `audit`."""


def share(secret: bytes, prediction: str) -> float:
    """u: fixed by its arguments, in [0, 1), and not to be guessed without the secret."""
    digest = hmac.new(secret, prediction.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8]) / 2**64


def probabilities(
    route: Route,
    fires: Collection[str],
    would_fire: Collection[str],
    suspended: Collection[str],
    sampling: Mapping[str, float],
    chances: Chances,
) -> dict[str, float]:
    """Class -> probability, for the classes whose answer on this image would be evidence.

    `fires` under the suspensions in force; `would_fire` whatever the state, at the threshold or that of the sampling plan;
    `sampling` the probability of each class that has such a plan.
    """
    if route == "captured":
        return {}
    found = {label: chances.labels.get(label, chances.audit) for label in fires} if route == "automatic" else {}
    for label in would_fire:
        if label in suspended:
            found[label] = chances.suspended
        elif label in sampling:
            found[label] = sampling[label]
    return {label: found[label] for label in sorted(found) if found[label] > 0}


def drawn(u: float, chance: Mapping[str, float]) -> tuple[str, ...]:
    """The classes for which an image is read blind."""
    return tuple(label for label, probability in chance.items() if u < probability)


def doubts(labels: Collection[str], answers: Mapping[str, Answer]) -> tuple[str, ...]:
    """Those of the drawn labels that a reading does not call present."""
    return tuple(label for label in labels if answers.get(label) != "present")


def result(
    label: str, first: Collection[str] | None, second: Collection[str] | None, second_reader: bool, overdue: bool
) -> Result | None:
    """What two readings' doubts say of one drawn class; None while it is open. `first` and `second` are None until read."""
    if first is not None and label not in first:
        return "right"
    if first is not None and (not second_reader or second is not None):
        return "wrong" if second is None or label in second else "right"
    return "overdue" if overdue else None
