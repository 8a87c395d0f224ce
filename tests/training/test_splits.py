"""Splits are by case, as large as asked for, for every label, and settled ones stay."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.images import LabelledImage, fingerprint, from_bytes
from training.splits import by_share, draw, joined, one_per_case

SHARES = {"train": 0.5, "tune": 0.15, "certify": 0.2, "test": 0.15}

images = st.lists(  # few contents and few cases, so that both collide
    st.builds(
        lambda content, case: from_bytes(bytes([content]), f"case{case}", ()), st.integers(0, 60), st.integers(0, 25)
    ),
    max_size=80,
)


@given(images, st.integers(0, 100))
def test_no_case_and_no_identical_image_is_in_two_splits(found: list[LabelledImage], seed: int) -> None:
    parts = by_share(found, SHARES, seed)
    assert sum(map(len, parts.values())) == len(found)
    for key in ("case", "name"):
        sets = [{getattr(image, key) for image in part} for part in parts.values()]
        assert sum(map(len, sets)) == len(set().union(*sets))


@given(images, st.sampled_from(sorted(SHARES)), st.integers(0, 100))
def test_what_is_settled_stays(found: list[LabelledImage], split: str, seed: int) -> None:
    groups = sorted(set(joined(found).values()))
    settled = dict.fromkeys(groups[::2], split)
    parts = by_share(found, SHARES, seed, settled)
    names = joined(found)
    for name, part in parts.items():
        assert all(settled.get(names[image.case], name) == name for image in part)


@given(images, st.integers(0, 100), st.randoms(use_true_random=False))
def test_the_order_of_the_images_decides_nothing(found: list[LabelledImage], seed: int, random: Random) -> None:
    shuffled = random.sample(found, len(found))
    one, other = by_share(found, SHARES, seed), by_share(shuffled, SHARES, seed)
    assert {name: fingerprint(part) for name, part in one.items()} == {
        name: fingerprint(part) for name, part in other.items()
    }


def test_every_label_has_its_share_in_every_split_however_rare() -> None:
    """Single labels within one image of the share; several labels an image within three, with a label of 20 among them."""
    rng = np.random.default_rng(1)
    frequency = {f"l{k}": 0.6 * 0.7**k for k in range(10)}
    one = [from_bytes(i.to_bytes(4), f"s{i}", (f"l{i % 7}",) if i % 7 else ()) for i in range(1_001)]
    many = [
        from_bytes(i.to_bytes(4), f"m{i}", [label for label, share in frequency.items() if rng.random() < share])
        for i in range(3_000)
    ]
    for found, within in ((one, 1), (many, 3)):
        parts = by_share(found, SHARES, seed=4)
        everywhere = Counter(label for image in found for label in image.present)
        assert min(everywhere.values()) > 20
        for name, share in SHARES.items():
            here = Counter(label for image in parts[name] for label in image.present)
            assert abs(len(parts[name]) - share * len(found)) <= 0.01 * len(found)  # labels come first
            for label, count in everywhere.items():
                assert abs(here[label] - share * count) <= within, (name, label)


def test_splits_that_are_full_take_nothing_of_what_is_added() -> None:
    """After a certification: what certified trains, and what is added fills the certification split first."""
    old = [from_bytes(i.to_bytes(4), f"old{i:04}", ("a",)) for i in range(1_000)]
    before = by_share(old, SHARES, seed=1)
    settled = {image.case: "train" if name == "certify" else name for name, part in before.items() for image in part}
    new = [from_bytes(b"n" + i.to_bytes(4), f"new{i:04}", ("a",)) for i in range(200)]
    after = by_share(old + new, SHARES, 1, settled)
    assert all(image.case.startswith("new") for image in after["certify"])
    assert len(after["certify"]) == pytest.approx(200 * 240 / (240 + 30 + 30), abs=1)
    assert set(before["test"]) <= set(after["test"])


@given(images, st.integers(0, 100))
def test_one_image_per_case(found: list[LabelledImage], seed: int) -> None:
    cases = joined(found)
    chosen = one_per_case(found, seed)
    assert sorted(cases[image.case] for image in chosen) == sorted(set(cases.values()))
    assert set(one_per_case(list(reversed(found)), seed)) == set(chosen)  # the order of the files decides nothing


def test_cases_that_share_an_image_through_others_are_one() -> None:
    chain = [from_bytes(bytes([i // 2]), f"c{(i + 1) // 2}", ()) for i in range(20)]
    assert len(set(joined(chain).values())) == 1


def test_shares_are_about_those_asked_for() -> None:
    many = [from_bytes(i.to_bytes(4), f"case{i}", ()) for i in range(20_000)]
    parts = by_share(many, SHARES, seed=3)
    for name, share in SHARES.items():
        assert abs(len(parts[name]) / len(many) - share) < 0.01


def test_draws_depend_on_each_argument() -> None:
    assert len({draw(s, p, n) for s in (0, 1) for p in ("split", "one") for n in ("a", "b")}) == 8


@given(images)
def test_a_fingerprint_knows_no_order_and_sees_every_label(found: list[LabelledImage]) -> None:
    assert fingerprint(found) == fingerprint(list(reversed(found)))
    relabelled = [from_bytes(image.encoded(), image.case, ("x",)) for image in found]
    assert (fingerprint(found) == fingerprint(relabelled)) == (not found)
