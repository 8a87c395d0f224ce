"""How far readers agree beyond chance: Krippendorff's alpha for nominal data, readings missing or not. Pure.

K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: of every unit that m >= 2 readers judged, each
ordered pair of values of two different readers counts 1 / (m - 1) in a matrix of coincidences o. With n_c its row sums and n
their sum,

    alpha = 1 - D_o / D_e = 1 - (n - 1) * sum of o_ck over c != k / sum of n_c * n_k over c != k

1: they always agree. 0: as often as if values had been drawn by chance. Below 0: they disagree more than that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence


def alpha(units: Iterable[Sequence[Hashable]]) -> float | None:
    """`units` are what the readers of each image said, missing readings left out.

    None where it says nothing: no image has two readings, or all readings are the same, so that nobody could have differed.
    """
    disagreed, values = 0.0, Counter[Hashable]()
    for said in units:
        readers = len(said)
        if readers < 2:
            continue
        counts = Counter(said)
        values.update(counts)
        disagreed += sum(count * (readers - count) for count in counts.values()) / (readers - 1)
    total = sum(values.values())
    by_chance = sum(count * (total - count) for count in values.values())
    if not by_chance:
        return None
    return 1 - (total - 1) * disagreed / by_chance
