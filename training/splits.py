"""Which split a case is in. Pure.

The split is a hash of seed and case, so it never changes when data is added: a case that certified a model yesterday does
not train one tomorrow. Cases that hold a byte-identical image are one case, whatever the data calls them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from training.images import LabelledImage


def joined(images: Sequence[LabelledImage]) -> dict[str, str]:
    """Case -> the name that stands for it and for every case it shares an image with, directly or through others."""
    above: dict[str, str] = {}

    def top(case: str) -> str:
        while above.setdefault(case, case) != case:
            above[case] = case = above[above[case]]
        return case

    first: dict[str, str] = {}
    for image in images:
        one, other = sorted((top(image.case), top(first.setdefault(image.name, image.case))))
        above[other] = one
    return {case: top(case) for case in above}


def draw(seed: int, purpose: str, name: str) -> float:
    """A number in [0, 1) that is fixed by its arguments and looks random in each of them."""
    digest = hashlib.blake2b(f"{seed}\0{purpose}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def by_share(images: Sequence[LabelledImage], shares: Mapping[str, float], seed: int) -> dict[str, list[LabelledImage]]:
    """Splits whose shares of the cases are about those asked for; no case and no image is in two."""
    cases = joined(images)
    parts: dict[str, list[LabelledImage]] = {name: [] for name in shares}
    for image in images:
        rest = draw(seed, "split", cases[image.case])
        chosen = list(shares)[-1]  # what rounding leaves over
        for name, share in shares.items():
            if rest < share:
                chosen = name
                break
            rest -= share
        parts[chosen].append(image)
    return parts


def one_per_case(images: Iterable[LabelledImage], seed: int) -> list[LabelledImage]:
    """One image of each case, chosen at random by the seed, in the order of the cases' first images.

    Images of one case are alike, and an exact binomial bound needs draws that do not know of each other.
    """
    images = list(images)
    cases = joined(images)
    chosen: dict[str, LabelledImage] = {}
    for image in images:
        case = cases[image.case]
        chosen[case] = min(
            image,
            chosen.get(case, image),
            key=lambda one: (draw(seed, "one", one.name), one.case, sorted(one.present), sorted(one.unknown)),
        )
    return list(chosen.values())
