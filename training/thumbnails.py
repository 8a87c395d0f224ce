"""Small pictures for a page: decoded as serving decodes, and encoded anew, so that nothing of the original file is left."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from model_store.decode import decode
from model_store.manifest import ImageSpec
from training.images import LabelledImage

SIDE = 128
"""Pixels of the longer side, at most."""
_TINY = 64
"""Up to here PNG is as small as JPEG and loses nothing."""


def data_uri(image: LabelledImage, spec: ImageSpec) -> str:
    """`data:image/...;base64,...`. Raises ImageError or DataError when the image cannot be read."""
    pixels = decode(image.encoded(), spec).pixels
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    small = Image.fromarray(pixels)
    small.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    kind = "png" if max(small.size) <= _TINY else "jpeg"
    small.save(stream, kind, **({"optimize": True} if kind == "png" else {"quality": 82}))
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
