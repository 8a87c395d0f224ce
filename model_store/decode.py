"""Image bytes from strangers -> pixels. The only decoder there is.

`probe` reads the header alone (the gateway, before it spends anything); `decode` reads every pixel (training, certification,
serving). Anything that is not a still image of an allowed format within the pixel ceiling is one `ImageError`.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from model_store.errors import EmptyImage, FormatNotAllowed, ImageTooLarge, UnusableImage
from model_store.manifest import ImageSpec

_EXIF_ORIENTATION = 0x0112
_SIGNATURES = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"PK\3\4", "a ZIP archive"),
    (b"<svg", "an SVG"),
    (b"<?xml", "XML or SVG"),
    (b"<!doctype html", "HTML"),
    (b"<html", "HTML"),
    (b"{", "JSON"),
    (b"[", "JSON"),
)


@dataclass(frozen=True)
class Header:
    """What the first bytes say: format (`JPEG`, `PNG`, `WEBP`), size in pixels as stored, Pillow's mode."""

    format: str
    width: int
    height: int
    mode: str


@dataclass(frozen=True)
class Decoded:
    """Upright pixels `[H, W, 3]`, uint8 or uint16, and the header they came with."""

    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    header: Header


def _what_it_is(data: bytes) -> str:
    start = data[:256].lstrip().lower()
    for signature, name in _SIGNATURES:
        if start.startswith(signature.lower()):
            return name
    return "no image that can be recognised"


def _open(data: bytes, spec: ImageSpec) -> Image.Image:
    if not data:
        raise EmptyImage("the body is empty; send the bytes of one image")
    allowed = ", ".join(spec.formats)
    try:
        image = Image.open(io.BytesIO(data), formats=spec.formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageTooLarge(
            f"the image has more than {spec.max_pixels:,} pixels; send a smaller version of it"
        ) from None
    except Image.UnidentifiedImageError:
        raise FormatNotAllowed(f"the body is {_what_it_is(data)}; send one of {allowed}") from None
    except (OSError, ValueError, SyntaxError, struct.error, EOFError, OverflowError) as error:
        raise UnusableImage(f"the image's header is broken ({error}); send an intact file") from None
    if image.width * image.height > spec.max_pixels:
        raise ImageTooLarge(
            f"the image has {image.width}x{image.height} pixels and at most {spec.max_pixels:,} are read; "
            "send a smaller version of it"
        )
    if getattr(image, "is_animated", False):
        raise FormatNotAllowed("the image is an animation; send one still frame of it")
    return image


def _header(image: Image.Image) -> Header:
    return Header(image.format or "", image.width, image.height, image.mode)


def probe(data: bytes, spec: ImageSpec) -> Header:
    """The header of an image, without decoding its pixels. Raises ImageError."""
    return _header(_open(data, spec))


def decode(data: bytes, spec: ImageSpec) -> Decoded:
    """Upright RGB pixels of an image, every one of them read. Raises ImageError.

    Alpha is dropped, CMYK and palettes become RGB, a 16-bit grey image keeps its depth when the spec asks for uint16 and
    otherwise gives its upper eight bits. JPEGs may come back reduced (see ImageSpec.reduce), never below the spec's size.
    """
    image = _open(data, spec)
    header = _header(image)
    if spec.reduce and image.format == "JPEG":
        longest = max(spec.height, spec.width)  # the orientation may turn the sides round
        image.draft(None, (longest, longest))
    try:
        image.load()
        if image.getexif().get(_EXIF_ORIENTATION, 1) != 1:
            image = ImageOps.exif_transpose(image)
        pixels = _rgb(image, spec.dtype)
    except (OSError, ValueError, SyntaxError, struct.error, EOFError, OverflowError, Image.DecompressionBombError) as error:
        raise UnusableImage(f"the image's pixels cannot be read ({error}); send an intact file") from None
    return Decoded(pixels, header)


def _rgb(image: Image.Image, dtype: str) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own convert("RGB") would clip it at 255
        deep = np.asarray(image).clip(0, 65535).astype(np.uint16)
        grey = deep if dtype == "uint16" else (deep >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return pixels.astype(np.uint16) * np.uint16(257) if dtype == "uint16" else pixels
