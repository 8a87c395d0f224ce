"""Decoded pixels -> the tensor the graph takes. The only resize there is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from model_store.manifest import ImageSpec

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def preprocess(pixels: Pixels, spec: ImageSpec) -> Pixels:
    """`[H, W, 3]` of any size -> `[spec.height, spec.width, 3]` of the spec's dtype, antialiased."""
    height, width = pixels.shape[:2]
    if spec.fit == "squish":
        return _resize(pixels, spec.height, spec.width, spec)
    if spec.fit == "crop":
        # the middle is cut out before it is resized: a ribbon resized whole would fill gigabytes
        scale = max(spec.height / height, spec.width / width)
        inner_height, inner_width = min(height, spec.height / scale), min(width, spec.width / scale)
        top, left = (height - inner_height) / 2, (width - inner_width) / 2
        box = (left, top, min(width, left + inner_width), min(height, top + inner_height))
        return _resize(pixels, spec.height, spec.width, spec, box)
    scale = min(spec.height / height, spec.width / width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    canvas: Pixels = np.zeros((spec.height, spec.width, 3), pixels.dtype)
    top, left = (spec.height - rows) // 2, (spec.width - columns) // 2
    canvas[top : top + rows, left : left + columns] = _resize(pixels, rows, columns, spec)
    return canvas


def _resize(
    pixels: Pixels,
    height: int,
    width: int,
    spec: ImageSpec,
    box: tuple[float, float, float, float] | None = None,
) -> Pixels:
    """The pixels, or the box (left, top, right, bottom) of them, at another size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    resampling = _RESAMPLING[spec.interpolation]
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).resize((width, height), resampling, box))
    planes = [  # Pillow resizes 16 bits without loss only as floats, plane by plane
        np.asarray(Image.fromarray(pixels[:, :, channel].astype(np.float32)).resize((width, height), resampling, box))
        for channel in range(3)
    ]
    return np.stack(planes, axis=2).round().clip(0, 65535).astype(np.uint16)
