"""Token buckets: how often somebody may ask. Of this gateway alone, and in bounded memory. Pure but for what it remembers."""

from __future__ import annotations

from collections import OrderedDict

BURST_S = 2.0
"""A bucket holds what two seconds fill, and one request at least."""


class Buckets:
    """One bucket a name; the least recently used are forgotten, and then full again, when there are more than `most`."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """How much was left, and when."""

    def take(self, name: str, rate: float, now: float, burst: float | None = None) -> float:
        """0 when the request may pass, and is counted; else the seconds until the next one may.

        `rate` is requests a second, `now` any clock's seconds, `burst` how many may come at once.
        """
        most = max(1.0, rate * BURST_S) if burst is None else burst
        left, since = self._left.pop(name, (most, now))
        left = min(most, left + rate * max(0.0, now - since))
        passed = left >= 1
        self._left[name] = (left - 1 if passed else left, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return 0.0 if passed else (1 - left) / rate

    def __len__(self) -> int:
        return len(self._left)
