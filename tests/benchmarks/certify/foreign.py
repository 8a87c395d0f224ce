"""Foreign images that no choice of the gate has seen: pieces of scikit-learn's two photographs, and letters of Pillow's font.

Both come with packages that every checkout has. They are encoded bytes, as a caller would send them, so that they go through
the decoding and the resizing that serve. Whoever changes the gate after looking at what fires on these has to find others.
"""

from __future__ import annotations

import io
import string
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_images

KINDS = ("photographs, colour", "photographs, grey", "letters")
SIDES = (28, 56, 112, 224, 427)
"""Pixels of a square piece of a photograph: from texture, at the model's own size and enlarged, to the whole height."""
PIECES = 100
"""Of each photograph and side."""
LETTERS = 20
"""Of each letter, in capitals and small."""
CANVAS = 28
"""Side of a letter's image, that of the digits' nearest relatives."""


def images(seed: int) -> dict[str, list[bytes]]:
    """By kind, PNG files. The grey pieces are the colour ones without their colour."""
    rng = np.random.default_rng(seed)
    pieces = list(_pieces(rng))
    colour, grey, letters = KINDS
    return {
        colour: [_png(piece) for piece in pieces],
        grey: [_png(piece.convert("L")) for piece in pieces],
        letters: [_png(_letter(letter, rng)) for letter in string.ascii_letters for _ in range(LETTERS)],
    }


def _pieces(rng: np.random.Generator) -> Iterator[Image.Image]:
    for photograph in load_sample_images().images:
        high, wide = photograph.shape[:2]
        for side in SIDES:
            for _ in range(PIECES):
                top, left = rng.integers(0, high - side, endpoint=True), rng.integers(0, wide - side, endpoint=True)
                yield Image.fromarray(photograph[top : top + side, left : left + side])


def _letter(letter: str, rng: np.random.Generator) -> Image.Image:
    """White on black in the middle, as the garments are, in a size of its own, turned a little."""
    canvas = Image.new("L", (CANVAS, CANVAS))
    font = ImageFont.load_default(float(rng.uniform(16, 30)))
    ImageDraw.Draw(canvas).text((CANVAS / 2, CANVAS / 2), letter, fill=255, font=font, anchor="mm")
    return canvas.rotate(float(rng.uniform(-15, 15)), Image.Resampling.BILINEAR)


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
