"""A data set that a tiny network learns in a second: coloured noise in files, one colour with a handful only."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from training.recipe import Recipe, read

COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200), "grey": (128, 128, 128)}
COUNTS = {"red": 220, "green": 220, "blue": 220, "grey": 8}

RECIPE = """
name = "colours"
seed = 5
[image]
height = 16
width = 16
[data]
source = "photos"
min_images = 20
shares = { train = 0.35, tune = 0.2, certify = 0.3, test = 0.15 }
[model]
backbone = "test_resnet"
[training]
epochs = 4
batch_size = 16
micro_batch = 6
learning_rate = 0.005
threads = 1
[certification]
target = 0.8
delta = 0.1
[export]
golden = 4
"""


def make(root: Path) -> Recipe:
    """Writes the photos and the recipe; every third image is a JPEG."""
    rng = np.random.default_rng(0)
    for label, colour in COLOURS.items():
        (root / "photos" / label).mkdir(parents=True)
        for index in range(COUNTS[label]):
            pixels = np.clip(np.array(colour) + rng.normal(0, 50, (20, 24, 3)), 0, 255).astype(np.uint8)
            stream, kind = io.BytesIO(), "JPEG" if index % 3 == 0 else "PNG"
            Image.fromarray(pixels).save(stream, kind)
            (root / "photos" / label / f"{index}.{'jpg' if kind == 'JPEG' else 'png'}").write_bytes(stream.getvalue())
    (root / "colours.toml").write_text(RECIPE)
    return read(root / "colours.toml")
