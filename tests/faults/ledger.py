"""What the world outside was told: every acknowledgement, by whom it was given and when. The service is judged by this."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """`began` is the monotonic time that all others are counted from."""

    began: float = field(default_factory=time.monotonic)
    predictions: dict[str, set[str]] = field(default_factory=dict)
    """Idempotency key -> ids that were acknowledged for it; more than one is a double."""
    images: dict[str, str] = field(default_factory=dict)
    """Prediction -> SHA-256 of its image."""
    verdicts: dict[str, set[str]] = field(default_factory=dict)
    """Item -> ids of verdicts that were acknowledged for it."""
    answered: dict[str, set[str]] = field(default_factory=dict)
    """Item -> reviewers whose verdict was acknowledged."""
    amended: dict[str, int] = field(default_factory=dict)
    """Item -> the revision that was acknowledged."""
    heard: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    """Prediction and revision -> the words in which a listener heard of it; more than one are a double."""
    callers_saw: Counter[str] = field(default_factory=Counter)
    reviewers_saw: Counter[str] = field(default_factory=Counter)
    worked: list[tuple[float, str]] = field(default_factory=list)
    """When something was acknowledged, and to whom: `caller` or `reviewer`."""
    slowest: dict[str, float] = field(default_factory=dict)
    """Who -> the longest from a first try to its acknowledgement, seconds."""

    def now(self) -> float:
        return time.monotonic() - self.began

    def predicted(self, key: str, prediction: str, sha256: str, tried: float) -> None:
        self.predictions.setdefault(key, set()).add(prediction)
        self.images[prediction] = sha256
        self._worked("caller", tried)

    def verdict(self, item: str, verdict: str, reviewer: str, tried: float) -> None:
        self.verdicts.setdefault(item, set()).add(verdict)
        self.answered.setdefault(item, set()).add(reviewer)
        self._worked("reviewer", tried)

    def _worked(self, who: str, tried: float) -> None:
        now = self.now()
        self.worked.append((now, who))
        self.slowest[who] = max(self.slowest.get(who, 0.0), now - tried)

    def rate(self, start: float, end: float, who: str) -> float:
        """Acknowledgements per second between two moments."""
        return sum(1 for at, by in self.worked if by == who and start <= at < end) / max(end - start, 1e-9)

    def normal_after(
        self, healed: float, before: float, who: str, step: float = 0.5, enough: float = 0.7
    ) -> float | None:
        """Seconds from `healed` until a second begins in which at least `enough` of the rate `before` is acknowledged; None
        while there was none."""
        last = max((at for at, by in self.worked if by == who), default=0.0)
        at = healed
        while at + 1 <= last:
            if self.rate(at, at + 1, who) >= enough * before:
                return round(at - healed, 1)
            at += step
        return None
