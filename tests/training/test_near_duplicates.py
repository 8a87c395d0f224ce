"""Copies are found, different photographs are not taken for copies, and the search misses no pair."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

from tests.bundles import picture
from training import recipe, sample
from training.near_duplicates import BITS, looks, pairs, within
from training.recipe import Data
from training.splits import SPLITS, joined

SPEC = recipe.sample().image
RADIUS = Data().near_duplicates


def _encoded(image: Image.Image, kind: str = "PNG", quality: int = 75) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, quality=quality)
    return stream.getvalue()


def _middle(image: Image.Image, cut: float) -> Image.Image:
    width, height = image.size
    return image.crop((round(width * cut), round(height * cut), round(width * (1 - cut)), round(height * (1 - cut))))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "saved as JPEG": lambda image: _encoded(image, "JPEG"),
    "saved as a poor JPEG": lambda image: _encoded(image, "JPEG", 40),
    "saved as WebP": lambda image: _encoded(image, "WEBP"),
    "half the size": lambda image: _encoded(image.resize((image.width // 2, image.height // 2))),
    "twice the size": lambda image: _encoded(image.resize((image.width * 2, image.height * 2))),
    "other proportions": lambda image: _encoded(image.resize((image.width * 2, image.height))),
    "darker": lambda image: _encoded(ImageEnhance.Brightness(image).enhance(0.7)),
    "less contrast": lambda image: _encoded(ImageEnhance.Contrast(image).enhance(0.8)),
    "cropped by 2 % all round": lambda image: _encoded(_middle(image, 0.02)),
    "cropped by 3 % all round": lambda image: _encoded(_middle(image, 0.03)),
    "cropped by 5 % all round": lambda image: _encoded(_middle(image, 0.05)),
}


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Parts of two photographs that do not overlap and show something: sky and blurred ground have too little to tell."""
    whole = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    boxes = [(x, y, x + 160, y + 140) for x in range(0, 640, 160) for y in range(0, 420, 140)]
    parts = [image.crop(box) for image in whole for box in boxes]
    return [part for part in parts if np.asarray(part.convert("L")).std() > 25]


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_found_and_nothing_else(photographs: list[Image.Image], copy: str) -> None:
    originals = [looks(_encoded(image), SPEC) for image in photographs]
    copies = [looks(COPIES[copy](image), SPEC) for image in photographs]
    count = len(photographs)
    assert count > 12
    assert pairs([*originals, *copies], RADIUS) == [(index, index + count) for index in range(count)]


def test_small_centred_objects_are_told_apart_and_their_copies_found() -> None:
    """Of 1,000 photographs of 28x28 pixels none is taken for another, and of their JPEGs nine in ten are found."""
    images = sample.images("train")[:1_000]
    originals = [looks(image.encoded(), SPEC) for image in images]
    assert pairs(originals, RADIUS) == []
    copies = []
    for image in images:
        with Image.open(io.BytesIO(image.encoded())) as opened:
            copies.append(looks(_encoded(opened, "JPEG", 85), SPEC))
    found = [(i, j) for i, j in pairs([*originals, *copies], RADIUS) if i < len(images) <= j]
    assert len({i for i, j in found if j == i + len(images)}) > 0.9 * len(images)
    assert sum(j != i + len(images) for i, j in found) <= 2


@pytest.mark.slow
def test_the_shipped_sample_has_two_pairs_that_look_the_same_and_none_across_uses() -> None:
    images = [image for split in SPLITS for image in sample.images(split)]
    split = [name for name in SPLITS for _ in sample.images(name)]
    found = pairs([looks(image.encoded(), SPEC) for image in images], RADIUS)
    assert [(split[i], split[j]) for i, j in found] == [("certify", "test"), ("certify", "test")]
    assert all(images[i].present == images[j].present for i, j in found)
    assert max(Counter(joined(images, found).values()).values()) == 2


def test_flat_and_broken_images_look_like_nothing() -> None:
    assert looks(picture("red"), SPEC) == looks(picture("green", salt=5), SPEC) == looks(b"{}", SPEC) == ()
    assert pairs([(), (), ()], RADIUS) == []


def test_deep_images_have_looks_however_few_levels_they_use() -> None:
    rng = np.random.default_rng(0)
    shapes = np.asarray(Image.fromarray(rng.integers(0, 256, (6, 6), np.uint8)).resize((60, 60)), np.uint16)
    deep = SPEC.model_copy(update={"dtype": "uint16"})
    seen = [looks(_encoded(Image.fromarray(shapes * scale)), deep) for scale in (16, 250)]
    assert pairs(seen, RADIUS) == [(0, 1)]


@given(st.integers(0, 2**32 - 1), st.integers(1, 32), st.integers(1, 40), st.integers(1, 40))
def test_the_search_finds_every_pair_within_the_radius_and_no_other(seed: int, radius: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    one = rng.random((n, BITS)) < 0.5
    other = one[rng.integers(0, n, m)].copy()
    for row in other:  # at distances around the radius, so that both sides of it are seen
        row[rng.choice(BITS, rng.integers(0, 2 * radius + 2), replace=False)] ^= True
    far = (one[:, None] ^ other[None]).sum(axis=2)
    asked, given = ([np.packbits(row).tobytes() for row in side] for side in (one, other))
    i, j = within(asked, given, radius)
    assert sorted(zip(i.tolist(), j.tolist(), strict=True)) == [
        tuple(pair) for pair in np.argwhere(far <= radius).tolist()
    ]
