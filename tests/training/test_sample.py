"""The shipped sample is what it says it is, to the byte."""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_store.decode import decode
from training import recipe, sample
from training.splits import SPLITS, Split

EVERY_NAME = "87c9dccb"


def test_every_image_has_the_bytes_it_had_when_it_was_made() -> None:
    """Names are in journals and certificates: another PNG writer or zlib must not change one."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for image in sample.images(split):
            assert image.name == hashlib.sha256(image.encoded()).hexdigest()
            digest.update(image.name.encode())
    assert digest.hexdigest()[:8] == EVERY_NAME


def test_images_decode_to_the_pixels_that_were_stored() -> None:
    spec = recipe.sample().image
    for row, image in enumerate(sample.images("train")[:50]):
        pixels = decode(image.encoded(), spec).pixels
        assert (pixels == sample._pixels()[row][:, :, None]).all()
        with Image.open(io.BytesIO(image.encoded())) as opened:
            assert (opened.format, opened.mode, opened.size) == ("PNG", "L", (28, 28))


def test_no_case_and_no_image_is_in_two_splits() -> None:
    everything = [image for split in SPLITS for image in sample.images(split)]
    assert (
        len({image.name for image in everything})
        == len({image.case for image in everything})
        == len(everything)
        == 12600
    )


def test_the_story() -> None:
    counts = {split: Counter(label for image in sample.images(split) for label in image.present) for split in SPLITS}
    assert counts["train"]["bag"] == 0
    minimum = recipe.sample().data.min_images
    few = {label for label in sample.schema().ids if counts["train"][label] < minimum}
    assert few == {"coat", "sandal", "bag"}
    for split in ("tune", "certify", "test"):
        assert set(counts[split]) == set(sample.schema().ids)
    assert counts["test"].total() >= 2000


@pytest.mark.parametrize("split", SPLITS)
def test_the_table_in_the_readme_is_true(split: Split) -> None:
    images = sample.images(split)
    counts = Counter(label for image in images for label in image.present)
    coats, sandals, bags = (counts[label] for label in ("coat", "sandal", "bag"))
    line = f"| {split} | {len(images):,} | {len(images) - coats - sandals - bags:,} | {coats} | {sandals} | {bags} |"
    assert line in files("training.sample").joinpath("README.md").read_text("utf-8")


def test_the_package_data_is_small() -> None:
    assert sum(len(entry.read_bytes()) for entry in files("training.sample").iterdir() if entry.is_file()) <= 6_000_000


def test_png_is_a_png_for_any_pixels() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (5, 9), np.uint8)
    with Image.open(io.BytesIO(sample.png(grey))) as opened:
        assert (np.asarray(opened) == grey).all()


def test_the_script_makes_the_shipped_pixels_from_the_published_ones(require: Callable[[str, bool], None]) -> None:
    script = Path(__file__).parents[2] / "scripts" / "make_sample.py"
    spec = importlib.util.spec_from_file_location("make_sample", script)
    assert spec is not None
    assert spec.loader is not None
    make_sample = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_sample)
    require("dataset-fashion-mnist", make_sample.SOURCE.is_dir())
    images, labels = make_sample.read_source(make_sample.SOURCE)
    rows = make_sample.draw(labels)
    assert (images[rows] == sample._pixels()).all()
    digits = "".join(sample._index()["labels"][split] for split in SPLITS)
    assert labels[rows].tolist() == [int(digit) for digit in digits]
