"""A labelled image before it is decoded: its bytes, its name, the case it belongs to, what people say of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.errors import DataError

UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of a data set. `name` is the SHA-256 of its encoded bytes (64 hex digits)."""

    name: str
    case: str
    """Images of one case never part: splits, audits and certification treat a case as one."""
    present: frozenset[str]
    """Labels that are true of the image. A label that is neither here nor in `unknown` is false of it."""
    unknown: frozenset[str]
    """Labels nobody has looked for; masked in training, not counted in certification."""
    source: Path | bytes
    look: bytes = field(default=b"", compare=False)
    """Its perceptual hash (near_duplicates.py), 32 bytes; empty where it has none or nobody asked."""
    group: str = field(default="", compare=False)
    """The case that stands for all that it belongs together with; empty: its own."""
    only_trains: str = field(default="", compare=False)
    """Why it says nothing of the stream that is certified: `chosen` or `outside`; empty where it does."""
    also: tuple[str, ...] = field(default=(), compare=False)
    """Other names of its case."""

    def encoded(self) -> bytes:
        """The original bytes. Raises DataError when the file is gone or is not the one that was indexed."""
        if isinstance(self.source, bytes):
            return self.source
        try:
            data = self.source.read_bytes()
        except OSError as error:
            raise DataError(f"{self.source}: {error.strerror}; put the file back or take its row out") from None
        if hashlib.sha256(data).hexdigest() != self.name:
            raise DataError(f"{self.source} changed while it was being used; start again")
        return data


def from_bytes(data: bytes, case: str, present: Iterable[str]) -> LabelledImage:
    """An image held in memory, every label known."""
    return LabelledImage(hashlib.sha256(data).hexdigest(), case, frozenset(present), frozenset(), data)


def truth(images: Sequence[LabelledImage], heads: Sequence[str]) -> npt.NDArray[np.int8]:
    """`[N, C]`: 1 where the head's label is true of the image, 0 where it is not, UNKNOWN where nobody looked."""
    rows = np.zeros((len(images), len(heads)), np.int8)
    for row, image in zip(rows, images, strict=True):
        for column, head in enumerate(heads):
            row[column] = 1 if head in image.present else UNKNOWN if head in image.unknown else 0
    return rows


def fingerprint(images: Iterable[LabelledImage]) -> str:
    """`sha256:` over the sorted names, cases and labels: the same data in any order gives the same fingerprint."""
    lines = sorted(
        f"{image.name} {image.case} {','.join(sorted(image.present))} {','.join(sorted(image.unknown))}\n"
        for image in images
    )
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()
