"""A stranger's image, made safe to show: decoded by the one decoder, upright, as a fresh PNG of bounded size."""

from __future__ import annotations

import io

from PIL import Image

from model_store.decode import decode
from model_store.manifest import ImageSpec

LONGEST_SIDE = 2048


def safe_image(data: bytes, spec: ImageSpec) -> bytes:
    """PNG bytes with both sides at most LONGEST_SIDE. Raises ImageError."""
    eight_bit = spec.model_copy(update={"dtype": "uint8", "reduce": False})
    image = Image.fromarray(decode(data, eight_bit).pixels)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()
