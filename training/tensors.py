"""Labelled images -> the tensors the network takes, through the decoder and the resize that serving uses."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.decode import decode
from model_store.errors import ImageError
from model_store.manifest import ImageSpec
from model_store.preprocess import preprocess
from training.errors import DataError
from training.images import LabelledImage, truth
from training.progress import bar


@dataclass(frozen=True)
class Tensors:
    """N images in memory: `image` `[N, H, W, 3]` uint8 or uint16, `truth` `[N, C]` int8 (1, 0, UNKNOWN)."""

    image: npt.NDArray[Any]
    truth: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.image)

    def moments(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Mean and standard deviation of each colour over all pixels, `[3]`; the deviation never 0."""
        mean = np.stack([self.image[..., colour].mean(dtype=np.float64) for colour in range(3)])
        spread = np.stack([self.image[..., colour].std(dtype=np.float64) for colour in range(3)])
        return mean.astype(np.float32), np.maximum(spread, 1.0).astype(np.float32)


def read(images: Sequence[LabelledImage], heads: Sequence[str], spec: ImageSpec, what: str) -> Tensors:
    """Decodes every image. Raises DataError for one that serving would refuse: mend it or take it out."""
    out = np.empty((len(images), spec.height, spec.width, 3), np.dtype(spec.dtype))

    def one(row: int) -> None:
        out[row] = _pixels(images[row], spec)

    _each(one, len(images), what)
    return Tensors(out, truth(images, heads))


def check(images: Sequence[LabelledImage], spec: ImageSpec, what: str) -> None:
    """Decodes every image and keeps none. Raises DataError for one that serving would refuse, as `read` does."""

    def one(row: int) -> None:
        _pixels(images[row], spec)

    _each(one, len(images), what)


def _each(one: Callable[[int], None], rows: int, what: str) -> None:
    with bar(what, rows) as advance, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(one, range(rows), chunksize=64):
            advance(1, "")


def _pixels(image: LabelledImage, spec: ImageSpec) -> npt.NDArray[Any]:
    try:
        return preprocess(decode(image.encoded(), spec).pixels, spec)
    except ImageError as error:
        raise DataError(f"image {_where(image)}: {error}, or take it out of the data") from None


def _where(image: LabelledImage) -> str:
    return image.name[:12] if isinstance(image.source, bytes) else str(image.source)
