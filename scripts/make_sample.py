"""Make the sample data under `training/sample/` from the full Fashion-MNIST set.

    apt-get install dataset-fashion-mnist          # or the four idx.gz files from the project's page
    python scripts/make_sample.py [FOLDER]         # default: /usr/share/datasets/fashion-mnist

The story the numbers tell: a shop's photo desk. Seven kinds of article come all day. Coats and sandals are out of season,
so that few have ever been photographed. The training images were gathered first; *afterwards* the shop began to sell bags,
so that no model trained on those images can know one, yet one article in twenty is a bag from then on.

Every split is an independent draw from the stream as it was at that time: labels by their natural frequency, images
without replacement from the 70,000 (which hold no byte-identical pair). `tune`, `certify` and `test` come from the
same, later stream; only `train` is from before the bags. The same seed gives the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SEED = 2017
SPLITS = {"train": 5000, "tune": 1600, "certify": 3600, "test": 2400}
CLASSES = (  # id and name, in the order of Fashion-MNIST's own label numbers
    ("tshirt", "T-shirt or top"), ("trouser", "trouser"), ("pullover", "pullover"), ("dress", "dress"), ("coat", "coat"),
    ("sandal", "sandal"), ("shirt", "shirt"), ("sneaker", "sneaker"), ("bag", "bag"), ("boot", "ankle boot"),
)  # fmt: skip
RARE = {"coat": 0.005, "sandal": 0.005}
NEW = {"bag": 0.05}  # share of the stream, once it has appeared

SOURCE = Path("/usr/share/datasets/fashion-mnist")
TARGET = Path(__file__).resolve().parent.parent / "training" / "sample"


def read_source(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images `[70000, 28, 28]` and label numbers `[70000]`: the published training set, then the published test set."""

    def idx(name: str, header: int) -> NDArray[np.uint8]:
        return np.frombuffer(gzip.decompress((folder / name).read_bytes())[header:], np.uint8)

    images = [idx(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28) for part in ("train", "t10k")]
    labels = [idx(f"{part}-labels-idx1-ubyte.gz", 8) for part in ("train", "t10k")]
    return np.concatenate(images), np.concatenate(labels)


def mix(with_new: bool) -> NDArray[np.float64]:
    """Probability of each class in the stream, `[10]`: what the rare and new ones leave is shared evenly."""
    fixed = RARE | (NEW if with_new else dict.fromkeys(NEW, 0.0))
    even = (1 - sum(fixed.values())) / (len(CLASSES) - len(fixed))
    return np.array([fixed.get(name, even) for name, _ in CLASSES])


def draw(labels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Row numbers of the stream in its order, splits one after another, none twice."""
    rng = np.random.default_rng(SEED)
    waiting = {k: list(rng.permutation(np.flatnonzero(labels == k))) for k in range(len(CLASSES))}
    stream = []
    for split, size in SPLITS.items():
        kinds = rng.choice(len(CLASSES), size=size, p=mix(with_new=split != "train"))
        stream += [waiting[int(kind)].pop() for kind in kinds]
    return np.array(stream)


def main(folder: Path = SOURCE) -> None:
    images, labels = read_source(folder)
    rows = draw(labels)
    raw = images[rows].tobytes()
    packed = lzma.compress(raw, format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME)
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "images.xz").write_bytes(packed)
    index = {
        "about": "A stream of Fashion-MNIST images (MIT, Zalando Research); made by scripts/make_sample.py",
        "seed": SEED,
        "shape": [len(rows), 28, 28],
        "pixels_sha256": hashlib.sha256(raw).hexdigest(),
        "splits": SPLITS,
        "classes": [{"id": name, "name": words} for name, words in CLASSES],
        "labels": {
            split: "".join(str(labels[row]) for row in part)
            for split, part in zip(SPLITS, np.split(rows, np.cumsum(list(SPLITS.values()))[:-1]), strict=True)
        },
    }
    (TARGET / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    counts = {split: {name: text.count(str(k)) for k, (name, _) in enumerate(CLASSES)}
              for split, text in index["labels"].items()}  # fmt: skip
    for split, count in counts.items():
        print(f"{split:8}", sum(count.values()), count)
    print(f"{len(packed) / 1e6:.2f} MB")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
