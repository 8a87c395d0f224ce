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
    choose = max if spec.fit == "crop" else min
    scale = choose(spec.height / height, spec.width / width)
    inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
    resized = _resize(pixels, inner_height, inner_width, spec)
    if spec.fit == "crop":
        top, left = (inner_height - spec.height) // 2, (inner_width - spec.width) // 2
        return np.ascontiguousarray(resized[top : top + spec.height, left : left + spec.width])
    canvas = np.zeros((spec.height, spec.width, 3), dtype=resized.dtype)
    top, left = (spec.height - inner_height) // 2, (spec.width - inner_width) // 2
    canvas[top : top + inner_height, left : left + inner_width] = resized
    return canvas


def _resize(pixels: Pixels, height: int, width: int, spec: ImageSpec) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    resampling = _RESAMPLING[spec.interpolation]
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).resize((width, height), resampling))
    planes = [  # Pillow resizes 16 bits without loss only as floats, plane by plane
        np.asarray(Image.fromarray(pixels[:, :, channel].astype(np.float32)).resize((width, height), resampling))
        for channel in range(3)
    ]
    return np.stack(planes, axis=2).round().clip(0, 65535).astype(np.uint16)
