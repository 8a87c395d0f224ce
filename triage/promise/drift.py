"""How far a site's images have drifted from those that the model was tuned on. Pure.

An image's typicality is the share of normal tuning images that are less typical, so over images like those it is uniform on
[0, 1]. The score is the Kolmogorov-Smirnov distance of a site's newest images from that: 0 like the tuning images, 1 nothing
like them. Where images are alike it stays below 1.63 / sqrt(n) in 99 of 100 looks (Smirnov's asymptotic quantile): .05 for
1,000.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import numpy as np

WINDOW = 1000
FEWEST = 200
"""With fewer images there is no score."""


def score(typicality: Collection[float]) -> float | None:
    """In [0, 1]; None for fewer than `FEWEST` images."""
    n = len(typicality)
    if n < FEWEST:
        return None
    ordered = np.sort(np.asarray(typicality, np.float64))
    steps = np.arange(1, n + 1) / n
    return float(max((steps - ordered).max(), (ordered - steps + 1 / n).max()))


class Recent:
    """The typicality of each site's newest images, as this gateway saw them."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], deque[float]] = {}

    def saw(self, project: str, site: str, typicality: float) -> None:
        if (project, site) not in self._seen:
            self._seen[project, site] = deque(maxlen=WINDOW)
        self._seen[project, site].append(typicality)

    def scores(self) -> dict[tuple[str, str], float]:
        """Of the sites with images enough."""
        found = {where: score(seen) for where, seen in self._seen.items()}
        return {where: value for where, value in found.items() if value is not None}
