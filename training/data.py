"""A recipe's labelled images, split into train, tune, certify and test."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import ValidationError

from model_store.errors import DocumentError
from model_store.labels import Group, Label, LabelSchema
from training import sample, splits
from training.errors import DataError
from training.images import LabelledImage
from training.recipe import SAMPLE, Data, Recipe

SPLITS = ("train", "tune", "certify", "test")
_ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}


@dataclass(frozen=True)
class DataSet:
    """Every image of a recipe, and the schema their labels are from."""

    schema: LabelSchema
    parts: Mapping[str, list[LabelledImage]]
    """train, tune, certify, test; no case is in two."""

    def heads(self, min_images: int) -> tuple[str, ...]:
        """Ids of the labels with at least so many training images, in schema order."""
        counts = self.counts("train")
        return tuple(label for label in self.schema.ids if counts[label] >= min_images)

    def counts(self, split: str) -> Counter[str]:
        """Images of each label in a split."""
        return Counter(label for image in self.parts[split] for label in image.present)


@dataclass(frozen=True)
class _Row:
    """An image as its source describes it: labels as written there, and the split if it says one."""

    path: Path
    written: tuple[str, ...]
    case: str
    split: str


def load(recipe: Recipe) -> DataSet:
    """Finds and splits the images of a recipe. Raises DataError or DocumentError, each with the mend."""
    if recipe.data.source == SAMPLE:
        return DataSet(sample.schema(), {split: sample.images(split) for split in sample.SPLITS})
    source = Path(recipe.data.source)
    rows = list(_folder(source) if source.is_dir() else _csv(source))
    if not rows:
        raise DataError(
            f"{source} holds no images; put them into folder/<label>/*.png or name a CSV with path and label"
        )
    schema, meaning = _schema(recipe.data, rows)
    images = [_image(row, meaning) for row in rows]
    if any(row.split for row in rows):
        return DataSet(schema, _as_told(source, rows, images))
    return DataSet(schema, splits.by_share(images, asdict(recipe.data.shares), recipe.seed))


def _folder(source: Path) -> Iterator[_Row]:
    for path in sorted(source.glob("*/*")):
        if path.suffix.lower() in _ENDINGS:
            yield _Row(path, (path.parent.name,), path.relative_to(source).as_posix(), "")


def _csv(source: Path) -> Iterator[_Row]:
    """Several labels are parted by `;`, and `?label` says that nobody has looked for it."""
    try:
        with source.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = {"path", "label"} - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{source}: the column {min(missing)!r} is missing; name it in the first line")
            for row in reader:
                split = (row.get("split") or "").strip()
                if split and split not in SPLITS:
                    raise DataError(
                        f"{source}: line {reader.line_num}: split = {split!r}; write one of {', '.join(SPLITS)}"
                    )
                path, written = (row["path"] or "").strip(), (row["label"] or "").strip()
                if not path:
                    raise DataError(f"{source}: line {reader.line_num}: path is empty; name the image file")
                labels = tuple(part.strip() for part in written.split(";") if part.strip())
                yield _Row(source.parent / path, labels, (row.get("case") or "").strip() or path, split)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{source} cannot be read ({error}); save it as UTF-8 CSV") from None


def _schema(data: Data, rows: list[_Row]) -> tuple[LabelSchema, dict[str, str]]:
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


def _image(row: _Row, meaning: Mapping[str, str]) -> LabelledImage:
    present: set[str] = set()
    unknown: set[str] = set()
    for word in row.written:
        label = meaning.get(word.removeprefix("?"))
        if label is None:
            raise DataError(
                f"{row.path}: the label {word!r} is not declared; add it under data.labels or mend its spelling"
            )
        (unknown if word.startswith("?") else present).add(label)
    try:
        with row.path.open("rb") as stream:
            name = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{row.path}: {error.strerror}; put the file there or take its row out") from None
    return LabelledImage(name, row.case, frozenset(present), frozenset(unknown), row.path)


def _as_told(source: Path, rows: list[_Row], images: list[LabelledImage]) -> dict[str, list[LabelledImage]]:
    """The splits that the data itself names, refused where a case would be in two."""
    cases = splits.joined(images)
    seen: dict[str, str] = {}
    parts: dict[str, list[LabelledImage]] = {split: [] for split in SPLITS}
    for row, image in zip(rows, images, strict=True):
        if not row.split:
            raise DataError(f"{source}: {row.path.name} has no split and others have; fill the column or leave it out")
        if seen.setdefault(cases[image.case], row.split) != row.split:
            raise DataError(
                f"{source}: the case {image.case!r} (or an identical image) is in {seen[cases[image.case]]} and in "
                f"{row.split}; give all of it one split"
            )
        parts[row.split].append(image)
    return parts
