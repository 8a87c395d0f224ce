"""Occlusion: patches cover the image, and a class that looks at one corner lights that corner and nothing else."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from triage.calling.occlusion import GRID, heat, masked, overlay, patches

Side = st.integers(1, 60)


@given(Side, Side)
def test_the_patches_are_every_pixel_once(height: int, width: int) -> None:
    seen = np.zeros((height, width), int)
    for row, column in patches(height, width):
        seen[row, column] += 1
    assert (seen == 1).all()


@given(arrays.arrays(np.uint8, st.tuples(Side, Side, st.just(3))))
def test_each_copy_differs_in_its_patch_only_and_there_is_in_the_mean_colour(pixels: np.ndarray[Any, Any]) -> None:
    copies = list(masked(pixels))
    places = patches(*pixels.shape[:2])
    assert len(copies) == len(places) <= GRID * GRID
    mean = pixels.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    for copy, (row, column) in zip(copies, places, strict=True):
        assert (copy[row, column] == mean).all()
        copy[row, column] = pixels[row, column]
        assert (copy == pixels).all()


@given(st.integers(14, 60), st.integers(14, 60), st.integers(0, GRID * GRID - 1), st.integers(0, 2**32))
def test_a_class_that_looks_at_one_place_lights_that_place(height: int, width: int, place: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 100, (height, width, 3), dtype=np.uint8)
    row, column = patches(height, width)[place]
    pixels[row, column] = 255

    def looks_there(image: np.ndarray[Any, Any]) -> float:
        return float(image[row, column].mean()) / 255

    found = heat(looks_there(pixels), [looks_there(copy) for copy in masked(pixels)], height, width)
    assert found.shape == (GRID, GRID)
    assert found.flat[place] == 1
    assert np.count_nonzero(found) == 1


@given(Side, Side, st.data())
def test_heat_is_between_0_and_1_and_0_where_masking_never_hurts(height: int, width: int, data: st.DataObject) -> None:
    count = len(patches(height, width))
    without = data.draw(st.lists(st.floats(0, 1, width=32), min_size=count, max_size=count))
    found = heat(0.5, without, height, width)
    assert ((found >= 0) & (found <= 1)).all()
    assert not heat(0.0, without, height, width).any()


@given(arrays.arrays(np.uint8, st.tuples(Side, Side, st.just(3))))
def test_without_heat_the_overlay_is_the_image_in_grey(pixels: np.ndarray[Any, Any]) -> None:
    height, width = pixels.shape[:2]
    cold = heat(0.0, [0.0] * len(patches(height, width)), height, width)
    with Image.open(io.BytesIO(overlay(pixels, cold))) as shown:
        assert (shown.format, shown.size) == ("PNG", (width, height))
        grey = np.asarray(shown.convert("RGB")).astype(int)
    assert (abs(grey - pixels.mean(axis=2, keepdims=True)) <= 1).all()
