"""The use-ledger on disk: `<data>/uses/<digest>.json`, one file per act, only added to.

A file's name is the SHA-256 of what was done, without when; it appears whole (written aside, synced, renamed) or not at
all. Cases stand in it as hashes only.
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from model_store import files
from training.errors import DataError
from training.images import LabelledImage
from training.splits import SPLITS, Split

Purpose = Split
"""An image is used for what its split is called."""


@dataclass(frozen=True)
class Act:
    """One use of images. `names`, `cases` (hashed) and `looks` (hex, may be empty) stand row by row.

    An image whose case has two names has two rows.
    """

    purpose: Purpose
    of: Mapping[str, str]
    """`model`; `training`, the fingerprint of what trained it; of a certification `bundle`, `promise`, its `delta`, and the
    fingerprints of `evidence` and `tune`, labels and all; of one on readings the `rules` and `labels` that they are of."""
    planned: bool
    """Set aside when the model was trained, and not used yet."""
    names: tuple[str, ...]
    cases: tuple[str, ...]
    looks: tuple[str, ...]
    at: str = ""

    @property
    def when(self) -> datetime.datetime:
        """When it was, in UTC."""
        return datetime.datetime.fromisoformat(self.at)

    @property
    def spends(self) -> bool:
        """Whether its images certified something, and may only train from then on."""
        return self.purpose == "certify" and not self.planned

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the act, without when it was."""
        return hashlib.sha256(content({**vars(self), "at": ""})).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, counts instead of images."""
        return {
            "at": self.at,
            "purpose": self.purpose,
            "planned": self.planned,
            "of": dict(self.of),
            "images": len(set(self.names)),
            "cases": len(set(self.cases)),
            "digest": self.digest,
        }


def of_images(purpose: Purpose, images: Iterable[LabelledImage], of: Mapping[str, str], planned: bool) -> Act:
    """The act of using these images, in whatever order they come; when is not said yet."""
    rows = sorted({(image.name, key, image.look.hex()) for image in images for key in case_keys(image)})
    names, cases, looks = zip(*rows, strict=True) if rows else ((), (), ())
    return Act(purpose, dict(of), planned, names, cases, looks)


def case_keys(image: LabelledImage) -> tuple[str, ...]:
    """A case as the ledger knows it, under each of its names."""
    return tuple(
        hashlib.sha256(b"case\0" + name.encode()).hexdigest()[:32] for name in dict.fromkeys((image.case, *image.also))
    )


def read(data: Path) -> list[Act]:
    """Every act, oldest first. Raises DataError for a file that was changed."""
    acts = [_read(path) for path in (data / "uses").glob("*.json")]
    return sorted(acts, key=lambda act: (act.at, SPLITS.index(act.purpose), act.digest))


def _read(path: Path) -> Act:
    try:
        act = _ADAPTER.validate_json(path.read_bytes())
        if act.digest == path.stem:
            return act
    except (OSError, ValidationError):
        pass
    raise DataError(f"{path} is not as it was written; put this file of the use-ledger back from a backup") from None


def write(data: Path, act: Act) -> None:
    """Adds an act that knows when it was; the caller holds the lock."""
    files.replace(data / "uses" / f"{act.digest}.json", content(vars(act)))


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """One writer at a time, over all processes; a lock dies with its process."""
    folder = data / "uses"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def content(values: Mapping[str, Any]) -> bytes:
    """Canonical JSON: the same values give the same bytes."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


_ADAPTER: TypeAdapter[Act] = TypeAdapter(Act)
