"""A circuit breaker: after some failures in a row nobody waits for a dead model; now and then one request tries it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Breaker:
    """Pure: the clock is handed in, in seconds."""

    failures_to_open: int = 3
    retry_after_s: float = 1.0
    _failures: int = 0
    _next_trial: float = 0.0

    @property
    def open(self) -> bool:
        return self._failures >= self.failures_to_open

    def admits(self, now: float) -> bool:
        """Whether a request may try. While open, one each `retry_after_s`."""
        if not self.open:
            return True
        if now < self._next_trial:
            return False
        self._next_trial = now + self.retry_after_s
        return True

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, now: float) -> None:
        self._failures += 1
        self._next_trial = now + self.retry_after_s
