"""Images as strangers send them: odd, broken and hostile. Every test that needs bad bytes takes them from
here."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

TEXTS = {
    "text": b"this is a letter and not a picture",
    "html": b"<!DOCTYPE html><html><body>404</body></html>",
    "json": b'{"image": "cat.jpg"}',
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>',
    "svg with prolog": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>',
    "pdf": b"%PDF-1.7\n%rest",
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "dicom": bytes(128) + b"DICM\x02\0\0\0UL",
    "zeros": bytes(4096),
}


@functools.cache
def scene(width: int = 96, height: int = 64) -> npt.NDArray[np.uint8]:
    """A picture with an upright: red sky over green ground, a blue mark at the top left, some texture."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2] = (200, 40, 40)
    pixels[height // 2 :] = (40, 200, 40)
    pixels[: height // 4, : width // 4] = (40, 40, 220)
    texture = np.random.default_rng(7).integers(0, 20, (height, width, 1), np.uint8)
    mixed: npt.NDArray[np.uint8] = pixels + texture
    return mixed


def save(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def encoded(format: str, width: int = 96, height: int = 64, **options: Any) -> bytes:
    return save(Image.fromarray(scene(width, height)), format, **options)


def animated(format: str) -> bytes:
    """Two frames as GIF, WEBP or PNG."""
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    return save(frames[0], format, save_all=True, append_images=frames[1:], duration=50)


def two_pictures() -> bytes:
    """A JPEG with a second picture behind the first, as phones write their previews (MPO)."""
    frames = [Image.fromarray(scene()), Image.fromarray(scene()[::-1].copy())]
    return save(frames[0], "MPO", save_all=True, append_images=frames[1:])


def turned(orientation: int, format: str = "JPEG", size: tuple[int, int] = (96, 64)) -> bytes:
    """`scene`, stored so that a reader who honours the EXIF orientation sees it upright."""
    inverse = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = Image.fromarray(scene(*size))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = image if inverse is None else image.transpose(inverse)
    options = {"quality": 95} if format == "JPEG" else {"lossless": True} if format == "WEBP" else {}
    return save(stored, format, exif=exif.tobytes(), **options)


def broken_exif() -> bytes:
    """A good JPEG whose EXIF block is noise, as some editors leave it."""
    return encoded("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\x7f" * 4)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@functools.cache
def png(width: int, height: int, depth: int, colour: int, row: bytes, extra: bytes = b"") -> bytes:
    """A PNG made by hand: every row has the same bytes, so that a few bytes unfold to any size."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(b"\0" + row) for _ in range(height)]
    body = b"".join(parts) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def bomb() -> bytes:
    """About 21 KB that unfold to 13000 x 13000 pixels, one bit each."""
    return png(13000, 13000, 1, 0, bytes(1625))


def grey16() -> bytes:
    """48 x 16, 16-bit grey: the left half 0x1234, the right half 0xFEDC."""
    return png(48, 16, 16, 0, b"\x12\x34" * 24 + b"\xfe\xdc" * 24)


def rgb16() -> bytes:
    """16 x 16, 16-bit RGB, red 0xC800, green 0x6401, blue 0x0AFF."""
    return png(16, 16, 16, 2, b"\xc8\x00\x64\x01\x0a\xff" * 16)


def palette(transparent: bool = True) -> bytes:
    """16 x 16 with a palette of two colours and, if asked, an alpha for each."""
    extra = chunk(b"PLTE", b"\xc8\x28\x28\x28\xc8\x28")
    extra += chunk(b"tRNS", b"\x80\x10") if transparent else b""
    return png(16, 16, 8, 3, b"\0\1" * 8, extra)
