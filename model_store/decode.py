"""Image bytes from strangers -> pixels. The only decoder there is.

`probe` reads the header alone (the gateway, before it spends anything); `decode` reads every pixel (training,
certification, serving). Anything that is not a still image of an allowed format within the pixel ceiling is
one `ImageError`.

Pillow answers broken bytes with almost any exception, so everything it raises here is caught; our own code
runs outside. What it would only warn about (EXIF noise, a malformed preview) is no one's to mend: an outcome
is an image or an error.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from model_store.errors import EmptyImage, FormatNotAllowed, ImageTooLarge, UnusableImage
from model_store.manifest import ImageSpec

MAX_SIDE = 65_535
"""Pixels. What JPEG allows; a longer PNG is a ribbon whose resize would need gigabytes for its filter."""
_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {  # how to turn what is stored into what was seen
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_SIGNATURES = (
    (b"\xff\xd8\xff", "a JPEG"),
    (b"\x89PNG", "a PNG"),
    (b"RIFF", "a WebP"),
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
    if data[4:8] == b"ftyp":
        return "a HEIC, AVIF or MP4"
    if data[128:132] == b"DICM":
        return "a DICOM file"
    start = data[:256].lstrip().lower()
    for signature, name in _SIGNATURES:
        if start.startswith(signature.lower()):
            return name
    return "no image that can be recognised"


def _silence_pillow() -> None:
    # warnings.catch_warnings is not safe in threads; one filter that stays is. Looked for each time, since a
    # test runner or a library that restores the filters would otherwise bring the warnings back.
    if _QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _said(error: Exception) -> str:
    """What Pillow said, on one line and short enough for a log."""
    return " ".join(str(error).split())[:120] or type(error).__name__


def _open(data: bytes, spec: ImageSpec) -> Image.Image:
    if not data:
        raise EmptyImage("the body is empty; send the bytes of one image")
    _silence_pillow()
    allowed = ", ".join(spec.formats)
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=spec.formats)
        animated = bool(getattr(image, "is_animated", False)) and image.format != "MPO"
    except Image.DecompressionBombError:
        raise ImageTooLarge(
            f"the image has more than {spec.max_pixels:,} pixels; send a smaller version of it"
        ) from None
    except UnidentifiedImageError:
        name = _what_it_is(data)
        if name.split()[-1].upper() in spec.formats:
            raise UnusableImage(f"the body begins as {name} and its header is broken; send an intact file") from None
        raise FormatNotAllowed(f"the body is {name}; send one of {allowed}") from None
    except Exception as error:
        raise UnusableImage(f"the image's header is broken ({_said(error)}); send an intact file") from None
    if image.width * image.height > spec.max_pixels:
        raise ImageTooLarge(
            f"the image has {image.width}x{image.height} pixels and at most {spec.max_pixels:,} are read; "
            "send a smaller version of it"
        )
    if max(image.size) > MAX_SIDE:
        raise ImageTooLarge(
            f"the image has {image.width}x{image.height} pixels and a side has at most {MAX_SIDE:,}; send a part of it"
        )
    if animated:
        raise FormatNotAllowed("the image is an animation; send one still frame of it")
    return image


def _header(image: Image.Image) -> Header:
    # MPO is a JPEG with previews behind it, as phones write it; Pillow opens the first picture
    return Header("JPEG" if image.format == "MPO" else image.format or "", image.width, image.height, image.mode)


def probe(data: bytes, spec: ImageSpec) -> Header:
    """The header of an image, without decoding its pixels. Raises ImageError."""
    return _header(_open(data, spec))


def decode(data: bytes, spec: ImageSpec) -> Decoded:
    """Upright RGB pixels of an image, every one of them read. Raises ImageError.

    Alpha is dropped, CMYK and palettes become RGB, a 16-bit grey image keeps its depth when the spec asks for
    uint16 and otherwise gives its upper eight bits. JPEGs may come back reduced (see ImageSpec.reduce), never
    below the spec's size.
    """
    image = _open(data, spec)
    header = _header(image)
    try:
        if spec.reduce and header.format == "JPEG":
            longest = max(spec.height, spec.width)  # the orientation may turn the sides round
            image.draft(None, (longest, longest))
        image.load()
        image = _upright(image)
        if image.mode != "RGB" and not image.mode.startswith("I"):
            image.info.pop("transparency", None)  # Pillow would look for a colour to make transparent
            image = image.convert("RGB")
    except Exception as error:
        raise UnusableImage(f"the image's pixels cannot be read ({_said(error)}); send an intact file") from None
    return Decoded(_depth(image, spec.dtype), header)


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # EXIF noise states no orientation: the pixels stand as they are stored
        return image
    # not ImageOps.exif_transpose: it writes the EXIF block anew, and a good image with a bad block would be
    # refused
    return image if turn is None else image.transpose(turn)


def _depth(image: Image.Image, dtype: str) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own convert("RGB") would clip it at 255
        deep = np.asarray(image).clip(0, 65535).astype(np.uint16)
        if dtype == "uint16":
            return np.repeat(deep[:, :, None], 3, axis=2)
        return np.repeat((deep >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    pixels: npt.NDArray[np.uint8] = np.asarray(image)
    if dtype == "uint16":
        widened: npt.NDArray[np.uint16] = np.multiply(pixels, 257, dtype=np.uint16)  # 255 -> 65535
        return widened
    return pixels
