"""Bytes from strangers: a decoded image or one ImageError, never anything else, and never a warning."""

from __future__ import annotations

import io
import threading
import tracemalloc
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model_store.decode import decode, probe
from model_store.errors import EmptyImage, FormatNotAllowed, ImageError, ImageTooLarge, UnusableImage
from model_store.manifest import ImageSpec
from tests.model_store import images

pytestmark = pytest.mark.filterwarnings("error")

SPEC = ImageSpec(height=16, width=16, reduce=False)
REDUCED = ImageSpec(height=16, width=16)
DEEP = ImageSpec(height=16, width=16, dtype="uint16")
MENDS = ("send ", "ask for")


def refused(data: bytes, error: type[ImageError], says: str, spec: ImageSpec = SPEC) -> None:
    """Decoding refuses with one sentence that says what is wrong and what to send instead."""
    with pytest.raises(error) as caught:
        decode(data, spec)
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    assert message.rpartition(";")[2].strip().startswith(MENDS)


def test_an_empty_body_is_named_as_such() -> None:
    refused(b"", EmptyImage, "empty")
    assert EmptyImage.status == 400


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("text", "no image that can be recognised"),
        ("html", "HTML"),
        ("json", "JSON"),
        ("svg", "an SVG"),
        ("svg with prolog", "XML or SVG"),
        ("pdf", "a PDF"),
        ("heic", "HEIC"),
        ("dicom", "DICOM"),
        ("zeros", "no image that can be recognised"),
    ],
)
def test_what_is_no_image_is_called_by_its_name(name: str, says: str) -> None:
    refused(images.TEXTS[name], FormatNotAllowed, says)
    refused(images.TEXTS[name], FormatNotAllowed, "send one of JPEG, PNG, WEBP")


@pytest.mark.parametrize(("format", "says"), [("GIF", "a GIF"), ("WEBP", "an animation"), ("PNG", "an animation")])
def test_animations_are_refused(format: str, says: str) -> None:
    refused(images.animated(format), FormatNotAllowed, says)
    with pytest.raises(FormatNotAllowed):
        probe(images.animated(format), SPEC)


@pytest.mark.parametrize(
    ("format", "says"), [("PNG", "a PNG"), ("WEBP", "a WebP"), ("BMP", "a BMP"), ("TIFF", "a TIFF")]
)
def test_a_format_that_this_model_does_not_take_is_named(format: str, says: str) -> None:
    refused(images.encoded(format), FormatNotAllowed, says, ImageSpec(height=16, width=16, formats=("JPEG",)))


@pytest.mark.parametrize("spec", [SPEC, REDUCED])
@pytest.mark.parametrize("size", [(96, 64), (640, 480), (33, 17)])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}, {"subsampling": 0}])
def test_a_jpeg_cut_by_20_bytes_is_refused(spec: ImageSpec, size: tuple[int, int], options: dict[str, Any]) -> None:
    refused(images.encoded("JPEG", *size, **options)[:-20], UnusableImage, "cannot be read", spec)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_other_formats_cut_inside_their_pixels_are_refused(format: str) -> None:
    with pytest.raises(UnusableImage):
        decode(images.encoded(format)[:-200], SPEC)


def test_a_broken_file_of_an_allowed_format_is_not_called_a_wrong_format() -> None:
    refused(images.encoded("PNG")[:20], UnusableImage, "broken")
    refused(images.encoded("JPEG")[:20], UnusableImage, "broken")


def test_a_bomb_is_refused_from_its_header_and_memory_stays_small() -> None:
    data = images.bomb()
    assert len(data) < 30_000
    process = psutil.Process()
    before = process.memory_info().rss
    tracemalloc.start()
    try:
        refused(data, ImageTooLarge, "13000x13000")
        with pytest.raises(ImageTooLarge):
            probe(data, SPEC)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert process.memory_info().rss - before < 20_000_000


@pytest.mark.parametrize("height", [1, 2])
def test_a_ribbon_is_refused_because_its_resize_would_need_gigabytes(height: int) -> None:
    ribbon = images.png(8_000_000, height, 1, 0, bytes(1_000_000))
    refused(ribbon, ImageTooLarge, "65,535")


def test_every_pixel_that_a_spec_may_allow_is_within_pillows_own_ceiling() -> None:
    """Above it Pillow refuses by itself, and the sentence would name a limit that was not the reason."""
    ceiling = ImageSpec.model_json_schema()["properties"]["max_pixels"]["maximum"]
    assert Image.MAX_IMAGE_PIXELS is not None
    assert ceiling <= 2 * Image.MAX_IMAGE_PIXELS


def test_more_pixels_than_pillow_would_warn_about_are_read_without_a_warning() -> None:
    data = images.png(10_000, 9_000, 1, 0, bytes(1250))  # 90 million: Pillow warns from 89.5
    assert probe(data, ImageSpec(height=16, width=16, max_pixels=100_000_000)).width == 10_000


def test_the_ceiling_itself_is_still_read() -> None:
    spec = ImageSpec(height=16, width=16, max_pixels=96 * 64)
    assert decode(images.encoded("PNG"), spec).pixels.shape == (64, 96, 3)
    with pytest.raises(ImageTooLarge):
        decode(images.encoded("PNG", 97, 64), spec)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_one_pixel_is_an_image(format: str) -> None:
    assert decode(images.encoded(format, 1, 1), REDUCED).pixels.shape == (1, 1, 3)


def test_png_pixels_come_back_exactly() -> None:
    assert np.array_equal(decode(images.encoded("PNG"), SPEC).pixels, images.scene())


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    image = Image.fromarray(images.scene()).convert("CMYK")
    decoded = decode(images.save(image, "JPEG", quality=95), SPEC)
    assert decoded.header.mode == "CMYK"
    assert np.abs(decoded.pixels.astype(int) - images.scene()).mean() < 12


def test_16_bit_grey_gives_its_upper_eight_bits_or_all_of_them() -> None:
    shallow, deep = decode(images.grey16(), SPEC).pixels, decode(images.grey16(), DEEP).pixels
    assert shallow.dtype == np.uint8
    assert set(shallow[:, :24].flat) == {0x12}
    assert set(shallow[:, 24:].flat) == {0xFE}
    assert deep.dtype == np.uint16
    assert set(deep[:, :24].flat) == {0x1234}
    assert set(deep[:, 24:].flat) == {0xFEDC}


def test_16_bit_rgb_gives_its_upper_eight_bits() -> None:
    assert decode(images.rgb16(), SPEC).pixels[3, 3].tolist() == [0xC8, 0x64, 0x0A]


def test_eight_bits_fill_the_range_of_sixteen() -> None:
    white = images.save(Image.new("RGB", (4, 4), "white"), "PNG")
    assert set(decode(white, DEEP).pixels.flat) == {65535}


@pytest.mark.parametrize("transparent", [True, False])
def test_a_palette_becomes_its_colours_with_or_without_transparency(transparent: bool) -> None:
    pixels = decode(images.palette(transparent), SPEC).pixels
    assert pixels[0, 0].tolist() == [200, 40, 40]
    assert pixels[0, 1].tolist() == [40, 200, 40]


@pytest.mark.parametrize(("mode", "colour", "rgb"), [
    ("LA", (90, 10), [90, 90, 90]), ("RGBA", (10, 20, 30, 0), [10, 20, 30]),
    ("L", 77, [77] * 3), ("1", 1, [255] * 3),
])  # fmt: skip
@pytest.mark.parametrize("transparency", [False, True])
def test_alpha_is_dropped(mode: str, colour: object, rgb: list[int], transparency: bool) -> None:
    options = {"transparency": 1} if transparency and mode in ("L", "1") else {}
    data = images.save(Image.new(mode, (5, 5), colour), "PNG", **options)  # type: ignore[arg-type]
    assert decode(data, SPEC).pixels[2, 2].tolist() == rgb


def test_rgb_with_a_transparent_colour_keeps_its_colours() -> None:
    data = images.save(Image.new("RGB", (5, 5), (10, 20, 30)), "PNG", transparency=(10, 20, 30))
    assert decode(data, SPEC).pixels[2, 2].tolist() == [10, 20, 30]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_turned_image_comes_back_upright(format: str, orientation: int) -> None:
    decoded = decode(images.turned(orientation, format), SPEC)
    assert decoded.pixels.shape == (64, 96, 3)
    assert np.abs(decoded.pixels.astype(int) - images.scene()).mean() < 8


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_turned_jpeg_comes_back_upright_when_it_is_reduced(orientation: int) -> None:
    decoded = decode(images.turned(orientation, size=(960, 640)), ImageSpec(height=20, width=40))
    height, width = decoded.pixels.shape[:2]
    assert (height, width) == (80, 120), "an eighth, the sides not exchanged"
    blue = decoded.pixels[2 : height // 4 - 2, 2 : width // 4 - 2]
    assert (blue[:, :, 2] > 180).all()
    assert (blue[:, :, 0] < 90).all()
    assert decoded.header.width == (960 if orientation == 3 else 640), "the header says what is stored"


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 80), st.integers(1, 80))
@settings(max_examples=60, deadline=None)
def test_reducing_never_goes_below_the_size_the_graph_takes(width: int, height: int, wide: int, high: int) -> None:
    data = images.save(Image.new("RGB", (width, height), (9, 99, 199)), "JPEG")
    shape = decode(data, ImageSpec(height=high, width=wide)).pixels.shape
    longest = max(wide, high)
    assert shape[0] >= min(height, longest)
    assert shape[1] >= min(width, longest)


def test_exif_noise_does_not_cost_the_image() -> None:
    assert decode(images.broken_exif(), SPEC).pixels.shape == (64, 96, 3)


def test_a_phones_jpeg_with_a_preview_behind_it_is_its_first_picture() -> None:
    decoded = decode(images.two_pictures(), REDUCED)
    assert decoded.header.format == "JPEG"
    assert decode(images.two_pictures(), SPEC).pixels[0, 0, 2] > 150, "blue mark at the top"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_probe_and_decode_read_the_same_header(format: str) -> None:
    header = probe(images.encoded(format), SPEC)
    assert header == decode(images.encoded(format), REDUCED).header
    assert (header.format, header.width, header.height) == (format, 96, 64)


SEEDS = [
    images.encoded("JPEG"), images.encoded("JPEG", progressive=True), images.encoded("PNG"),
    images.encoded("WEBP"),
    images.turned(6), images.turned(6, "PNG"), images.turned(6, "WEBP"), images.grey16(), images.palette(),
    images.animated("PNG"), images.animated("WEBP"), images.two_pictures(), images.broken_exif(),
    images.encoded("WEBP", lossless=True),
]  # fmt: skip
EDIT = st.tuples(st.sampled_from(["set", "cut", "insert", "end"]), st.floats(0, 1), st.binary(min_size=1, max_size=6))


def mutated(data: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    for kind, where, new in edits:
        # half of the edits hit the first 200 bytes: headers are where decoders go wrong
        span = min(len(data), 200) if where < 0.5 else len(data)
        at = int((where * 2 % 1) * span)
        if kind == "set":
            data = data[:at] + new + data[at + len(new) :]
        elif kind == "cut":
            data = data[:at] + data[at + len(new) :]
        elif kind == "insert":
            data = data[:at] + new + data[at:]
        else:
            data = data[: max(at, 8)]
    return data


@given(st.sampled_from(SEEDS), st.lists(EDIT, min_size=1, max_size=4), st.sampled_from([SPEC, REDUCED, DEEP]))
@settings(max_examples=600, deadline=None)
def test_mutated_bytes_are_a_decoded_image_or_one_image_error(
    seed: bytes, edits: list[tuple[str, float, bytes]], spec: ImageSpec
) -> None:
    data = mutated(seed, edits)
    try:
        decoded = decode(data, spec.model_copy(update={"max_pixels": 1_000_000}))
    except ImageError as error:
        said = str(error)
    else:
        said = ""
        assert decoded.pixels.shape[2:] == (3,)
        assert decoded.pixels.dtype == spec.dtype
        assert decoded.header.format in ("JPEG", "PNG", "WEBP")
    assert len(said) < 400
    assert "\n" not in said


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_noise_is_an_image_error(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode(data, SPEC)


def test_threads_decode_side_by_side_without_a_warning_or_a_mistake() -> None:
    work = [images.broken_exif(), images.palette(), images.encoded("JPEG"), images.encoded("JPEG")[:-20]] * 10
    outcomes: list[str] = []

    def one(data: bytes) -> None:
        try:
            outcomes.append(str(decode(data, SPEC).pixels.shape))
        except Exception as error:
            outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=one, args=(data,)) for data in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(outcomes)) == ["(16, 16, 3)", "(64, 96, 3)", "UnusableImage"]
    assert outcomes.count("UnusableImage") == 10


def test_a_bytearray_is_as_good_as_bytes() -> None:
    data = bytearray(images.encoded("PNG"))  # what TorchServe hands over
    assert decode(data, SPEC).pixels.shape == (64, 96, 3)  # type: ignore[arg-type]


def test_the_scene_has_an_upright() -> None:
    """The orientation tests could not fail on a picture that looks the same when turned."""
    upright = np.asarray(Image.open(io.BytesIO(images.encoded("PNG"))))
    assert not np.array_equal(upright, upright[::-1])
    assert not np.array_equal(upright, upright[:, ::-1])
