"""Which split a case is in. Pure.

1. What belongs together shares a split: images of a case, cases with a byte-identical image, cases with images that look the
   same. Together they are a group.
2. A group whose split is settled keeps it: what trained goes on training, what certified may only train, what was picked by
   hand may only train.
3. The rest is shared out so that every label has the asked share of its groups in every split, the rarest label first:
   iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011, Algorithm 1), over groups and in an order drawn by the
   seed. Splits that the settled groups have filled already take less of the rest.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

from training.images import LabelledImage

Split = Literal["train", "tune", "certify", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
_NO_LABEL = "\0none"
"""Images of which nothing is true are spread as those of a label are."""


def joined(images: Sequence[LabelledImage], alike: Iterable[tuple[int, int]] = ()) -> dict[str, str]:
    """Case -> the name that stands for it and for every case it belongs together with, directly or through others.

    `alike` are indices of images that look the same; images that know their group are of it.
    """
    above: dict[str, str] = {}

    def top(case: str) -> str:
        while above.setdefault(case, case) != case:
            above[case] = case = above[above[case]]
        return case

    def join(one: str, other: str) -> None:
        one, other = sorted((top(one), top(other)))
        above[other] = one

    first: dict[str, str] = {}
    for image in images:
        join(image.case, first.setdefault(image.name, image.case))
        join(image.case, image.group or image.case)
    for i, j in alike:
        join(images[i].case, images[j].case)
    return {image.case: top(image.case) for image in images}


def draw(seed: int, purpose: str, name: str) -> float:
    """A number in [0, 1) that is fixed by its arguments and looks random in each of them."""
    digest = hashlib.blake2b(f"{seed}\0{purpose}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def by_share(
    images: Sequence[LabelledImage], shares: Mapping[str, float], seed: int, settled: Mapping[str, str] | None = None
) -> dict[str, list[LabelledImage]]:
    """Splits whose shares of the groups, and of each label's groups, are about those asked for.

    `settled` names the split of groups that have one. No group is in two splits; the order of the images stays.
    """
    settled = settled or {}
    cases = joined(images)
    labels: dict[str, set[str]] = defaultdict(set)
    for image in images:
        labels[cases[image.case]] |= image.present
    chosen = {group: settled[group] for group in labels if group in settled}
    free = sorted(labels.keys() - chosen.keys(), key=lambda group: (draw(seed, "split", group), group))
    chosen |= _stratified({group: labels[group] or {_NO_LABEL} for group in free}, _open(shares, chosen, len(labels)))
    parts: dict[str, list[LabelledImage]] = {name: [] for name in shares}
    for image in images:
        parts[chosen[cases[image.case]]].append(image)
    return parts


def _open(shares: Mapping[str, float], chosen: Mapping[str, str], groups: int) -> dict[str, float]:
    """The share of the free groups that each split takes, so that all groups together come near to what is asked for."""
    have = Counter(chosen.values())
    wanted = {name: max(share * groups - have[name], 0.0) for name, share in shares.items()}
    total = sum(wanted.values())
    return {name: want / total for name, want in wanted.items()} if total else dict(shares)


def _stratified(labels: Mapping[str, set[str]], shares: Mapping[str, float]) -> dict[str, str]:
    """Group -> split, the groups taken in the order given."""
    with_label: dict[str, list[str]] = defaultdict(list)
    for group, present in labels.items():
        for label in sorted(present):
            with_label[label].append(group)
    left = {label: len(groups) for label, groups in with_label.items()}
    need = {label: {name: share * left[label] for name, share in shares.items()} for label in left}
    room = {name: share * len(labels) for name, share in shares.items()}
    chosen: dict[str, str] = {}
    while left:
        rarest = min(left, key=lambda label: (left[label], label))
        for group in with_label[rarest]:
            if group in chosen:
                continue
            split = max(shares, key=lambda name: (need[rarest][name], room[name]))
            chosen[group] = split
            room[split] -= 1
            for label in labels[group]:
                need[label][split] -= 1
                if label in left:
                    left[label] -= 1
        del left[rarest]
    return chosen


def one_per_case(images: Iterable[LabelledImage], seed: int) -> list[LabelledImage]:
    """One image of each group, chosen at random by the seed, in the order of the groups' first images.

    Images of one group are alike, and an exact binomial bound needs draws that do not know of each other.
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
