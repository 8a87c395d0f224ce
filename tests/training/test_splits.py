"""Splits are by case, stable, and about as large as asked for."""

from __future__ import annotations

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


@given(images, images, st.integers(0, 100))
def test_new_cases_move_no_old_one(old: list[LabelledImage], new: list[LabelledImage], seed: int) -> None:
    apart = [from_bytes(b"new" + image.encoded(), "new" + image.case, ()) for image in new]
    before, after = by_share(old, SHARES, seed), by_share(old + apart, SHARES, seed)
    for split, part in before.items():
        assert after[split][: len(part)] == part


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
