"""The one resize: shapes and depth for every policy, and what each policy keeps of the picture."""

from __future__ import annotations

import tracemalloc
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.decode import decode
from model_store.manifest import ImageSpec
from model_store.preprocess import preprocess
from tests.model_store import images

Fit = Literal["squish", "pad", "crop"]
Depth = type[np.uint8] | type[np.uint16]
FITS: tuple[Fit, ...] = ("squish", "pad", "crop")
side = st.one_of(st.integers(1, 40), st.integers(1, 400))


def halves(height: int, width: int, dtype: Depth = np.uint8) -> Any:
    """Left half dark, right half bright."""
    pixels = np.full((height, width, 3), 20, dtype)
    pixels[:, width // 2 :] = 220
    return pixels


@given(side, side, st.integers(1, 40), st.integers(1, 40), st.sampled_from(FITS), st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_every_policy_gives_the_shape_and_depth_that_the_graph_takes(
    height: int, width: int, high: int, wide: int, fit: Fit, deep: bool, bicubic: bool
) -> None:
    spec = ImageSpec(
        height=high,
        width=wide,
        fit=fit,
        dtype="uint16" if deep else "uint8",
        interpolation="bicubic" if bicubic else "bilinear",
    )
    tensor = preprocess(halves(height, width, np.uint16 if deep else np.uint8), spec)
    assert tensor.shape == (high, wide, 3)
    assert tensor.dtype == spec.dtype
    assert tensor.flags.c_contiguous


@given(side, side, st.sampled_from(["squish", "crop"]), st.booleans(), st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_a_plain_image_stays_plain(height: int, width: int, fit: Fit, deep: bool, value: int) -> None:
    """No policy but pad brings in a value that was not there."""
    dtype: Depth = np.uint16 if deep else np.uint8
    spec = ImageSpec(height=9, width=13, fit=fit, dtype="uint16" if deep else "uint8", interpolation="bicubic")
    assert set(preprocess(halves(height, width, dtype) * 0 + dtype(value), spec).flat) == {value}


@pytest.mark.parametrize("fit", FITS)
def test_the_right_size_passes_unchanged(fit: Fit) -> None:
    spec = ImageSpec(height=64, width=96, fit=fit)
    assert np.array_equal(preprocess(images.scene(), spec), images.scene())


def test_squish_keeps_everything() -> None:
    tensor = preprocess(halves(20, 80), ImageSpec(height=20, width=20))
    assert (tensor[:, :9] == 20).all()
    assert (tensor[:, 11:] == 220).all()


@pytest.mark.parametrize(("height", "width"), [(20, 80), (80, 20)])
def test_pad_keeps_the_shape_and_adds_equal_black(height: int, width: int) -> None:
    tensor = preprocess(np.full((height, width, 3), 200, np.uint8), ImageSpec(height=40, width=40, fit="pad"))
    seen = tensor[:, :, 0] == 200
    rows, columns = seen.any(axis=1), seen.any(axis=0)
    assert (rows.sum(), columns.sum()) == ((10, 40) if width > height else (40, 10))
    assert seen.sum() == 400
    band = np.flatnonzero(rows if width > height else columns)
    assert (band[0], band[-1]) == (15, 24)


@pytest.mark.parametrize(("height", "width"), [(20, 80), (80, 20)])
def test_crop_cuts_the_middle_out(height: int, width: int) -> None:
    ramp = np.broadcast_to(np.arange(80, dtype=np.uint8)[None, :, None], (20, 80, 3))
    tensor = preprocess(ramp if width > height else ramp.swapaxes(0, 1), ImageSpec(height=20, width=20, fit="crop"))
    line = tensor[10, :, 0] if width > height else tensor[:, 10, 0]
    assert line.tolist() == list(range(30, 50))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("height", "width"), [(1, 65_535), (65_535, 1)])
def test_a_ribbon_costs_little_memory(fit: Fit, height: int, width: int) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    tracemalloc.start()
    try:
        preprocess(pixels, ImageSpec(height=224, width=224, fit=fit))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_sixteen_bits_keep_steps_that_eight_bits_lose() -> None:
    pixels = np.zeros((8, 8, 3), np.uint16)
    pixels[:, 4:] = 100  # within one step of eight bits
    tensor = preprocess(pixels, ImageSpec(height=4, width=4, dtype="uint16"))
    assert tensor[0, 0, 0] < 10
    assert tensor[0, 3, 0] > 90


def test_bicubic_overshoot_stays_in_sixteen_bits() -> None:
    pixels = halves(8, 8, np.uint16)
    pixels[:, 4:] = 65535
    pixels[:, :4] = 0
    tensor = preprocess(pixels, ImageSpec(height=16, width=16, dtype="uint16", interpolation="bicubic"))
    assert tensor[:, 0].max() == 0, "an undershoot wrapped round"
    assert tensor[:, -1].min() == 65535, "an overshoot wrapped round"


def test_shrinking_is_antialiased() -> None:
    """A fine checkerboard becomes grey and not a pattern of whichever pixels were hit."""
    board = (np.indices((128, 128)).sum(axis=0) % 2 * 255).astype(np.uint8)
    tensor = preprocess(np.repeat(board[:, :, None], 3, axis=2), ImageSpec(height=16, width=16))
    assert np.abs(tensor.astype(int) - 127).max() <= 2


def test_a_reduced_jpeg_gives_nearly_the_tensor_of_the_whole_one() -> None:
    data = images.encoded("JPEG", 960, 640, quality=95)
    tensors = []
    for reduce in (False, True):
        spec = ImageSpec(height=64, width=96, reduce=reduce)
        tensors.append(preprocess(decode(data, spec).pixels, spec).astype(int))
    assert np.abs(tensors[0] - tensors[1]).mean() < 3
