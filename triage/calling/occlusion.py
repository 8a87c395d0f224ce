"""Where in an image a label's probability comes from: each patch is masked in turn, and the drop is its heat. Pure.

Occlusion sensitivity (Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014). It asks the model
again and looks into nothing, so it holds for every classifier; it says where the model looked and not whether that was right.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image

GRID = 7
"""Patches along each side; 49 questions to the model."""
_OPACITY = 0.6

Pixels = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.float32]


def patches(height: int, width: int, grid: int = GRID) -> list[tuple[slice, slice]]:
    """The grid's patches, row by row; together every pixel once. A side shorter than the grid has one patch a pixel."""
    rows = _cuts(height, grid)
    columns = _cuts(width, grid)
    return [(row, column) for row in rows for column in columns]


def masked(pixels: Pixels, grid: int = GRID) -> Iterator[Pixels]:
    """`[H, W, 3]` uint8 copies, in the order of `patches`, each with one patch in the image's mean colour."""
    mean = pixels.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    for row, column in patches(pixels.shape[0], pixels.shape[1], grid):
        copy = pixels.copy()
        copy[row, column] = mean
        yield copy


def heat(whole: float, without: list[float], height: int, width: int, grid: int = GRID) -> Heat:
    """`[rows, columns]` float32 in [0, 1]: how much of the probability each patch holds, the strongest being 1; all 0 where
    masking never lowers it. `whole` is the probability of the unmasked image, `without` those in the order of `patches`."""
    rows, columns = len(_cuts(height, grid)), len(_cuts(width, grid))
    drop = (whole - np.array(without, np.float32).reshape(rows, columns)).clip(min=0)
    strongest = float(drop.max(initial=0))
    # What is within rounding of nothing is nothing: scaled up it would be a picture of noise.
    return (drop / strongest if strongest > 1e-4 else np.zeros_like(drop)).astype(np.float32)


def overlay(pixels: Pixels, found: Heat) -> bytes:
    """PNG of the image in grey under the heat in orange, of the image's own size."""
    height, width = pixels.shape[:2]
    scaled = Image.fromarray((255 * found).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    strength = np.asarray(scaled, np.float32)[:, :, None] / 255 * _OPACITY
    grey = pixels.astype(np.float32).mean(axis=2, keepdims=True).repeat(3, axis=2)
    colour = np.array([255, 120, 0], np.float32)
    mixed = (grey * (1 - strength) + colour * strength).round().clip(0, 255).astype(np.uint8)
    return png(mixed)


def png(pixels: Pixels) -> bytes:
    """Of `[H, W, 3]` uint8."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _cuts(length: int, grid: int) -> list[slice]:
    edges = np.linspace(0, length, min(grid, length) + 1).round().astype(int)
    return [slice(int(start), int(end)) for start, end in pairwise(edges)]
