"""Where labelled images come from: a folder or a CSV file -> rows, and the schema their labels are from."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from model_store.errors import DocumentError
from model_store.labels import Group, Label, LabelSchema
from training.errors import DataError
from training.recipe import Data
from training.splits import SPLITS

DRAWN = ("stream", "chosen")
_UNSAID = {"role": "current"}
"""What a gateway takes for granted of an image that comes without."""
_ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}


@dataclass(frozen=True)
class Row:
    """An image as its source describes it: labels as written there; case and split empty where it names none."""

    path: Path
    written: tuple[str, ...]
    case: str = ""
    split: str = ""
    chosen: bool = False
    """Picked, by a person or by a score, and not as it came: it may train and nothing else."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What use conditions ask for, as the gateway would have recorded it."""


def folder(source: Path) -> Iterator[Row]:
    """`source/<label>/*.png`, every image with one label."""
    for path in sorted(source.glob("*/*")):
        if path.suffix.lower() in _ENDINGS:
            yield Row(path, (path.parent.name,))


def table(source: Path, fields: Sequence[str] = ()) -> Iterator[Row]:
    """Several labels are parted by `;`, and `?label` says that nobody has looked for it. `fields` are columns of metadata."""
    try:
        with source.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = {"path", "label"} - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{source}: the column {min(missing)!r} is missing; name it in the first line")
            for name in fields:
                if name not in (reader.fieldnames or ()):
                    raise DataError(
                        f"{source}: the column {name!r} is missing, which certification.conditions asks for; add it, or take "
                        "the condition out"
                    )
            for row in reader:
                split = (row.get("split") or "").strip()
                if split and split not in SPLITS:
                    raise DataError(
                        f"{source}: line {reader.line_num}: split = {split!r}; write one of {', '.join(SPLITS)}"
                    )
                drawn = (row.get("drawn") or "").strip() or "stream"
                if drawn not in DRAWN:
                    raise DataError(
                        f"{source}: line {reader.line_num}: drawn = {drawn!r}; write stream for an image as it came, "
                        "chosen for one that was picked"
                    )
                if drawn == "chosen" and split not in ("", "train"):
                    raise DataError(
                        f"{source}: line {reader.line_num}: a chosen image is in {split}, where only images as they came "
                        "speak for the stream; write train"
                    )
                path, written = (row["path"] or "").strip(), (row["label"] or "").strip()
                if not path:
                    raise DataError(f"{source}: line {reader.line_num}: path is empty; name the image file")
                labels = tuple(part.strip() for part in written.split(";") if part.strip())
                case = (row.get("case") or "").strip()
                told = {name: (row.get(name) or "").strip() or _UNSAID.get(name, "") for name in fields}
                metadata = {name: value for name, value in told.items() if value}
                yield Row(source.parent / path, labels, case, split, drawn == "chosen", metadata)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{source} cannot be read ({error}); save it as UTF-8 CSV") from None


def schema(data: Data, rows: list[Row]) -> tuple[LabelSchema, dict[str, str]]:
    """The label schema, and for each way a label is written in the data its id."""
    labels = data.labels
    if not labels:
        written = sorted({word.removeprefix("?") for row in rows for word in row.written})
        labels = tuple(Label(id=_slug(word), name=word) for word in written)
    try:
        schema = LabelSchema(labels=labels, groups=data.groups or (Group(),))
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise DocumentError(f"recipe: data.labels: {reason}") from None
    return schema, {label.name: label.id for label in schema.labels} | {label: label for label in schema.ids}


def _slug(word: str) -> str:
    slug = re.sub(r"[^a-z0-9_.-]+", "-", word.lower()).strip("-._")[:64]
    if not slug:
        raise DataError(f"the label {word!r} makes no id; declare it under data.labels with an id and this name")
    return slug
