"""A recipe's labelled images, split into train, tune, certify and test."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from model_store.bundle import Bundle
from model_store.conditions import failing
from model_store.labels import LabelSchema
from model_store.manifest import ImageSpec
from training import earlier, near_duplicates, refusals, sample, sources, splits
from training.errors import DataError
from training.images import LabelledImage
from training.near_duplicates import Looks
from training.progress import bar
from training.recipe import SAMPLE, Recipe
from training.sources import Row
from training.splits import SPLITS

LARGEST_GROUP = 0.05
"""Share of the cases that may belong together because they look the same; more is a radius that sees no differences."""
SMALL_GROUP = 20
"""Cases that may look the same in a data set of any size."""


@dataclass(frozen=True)
class DataSet:
    """Every image of a recipe, and the schema their labels are from."""

    schema: LabelSchema
    parts: Mapping[str, list[LabelledImage]]
    """train, tune, certify, test; nothing that belongs together is in two."""
    spent: int = 0
    """Images that have certified before and therefore only train now."""
    outside: Mapping[str, int] = field(default_factory=dict)
    """Split -> images left out of it, because they fail the use conditions."""

    def heads(self, min_images: int) -> tuple[str, ...]:
        """Ids of the labels with at least so many training images, in schema order."""
        counts = self.counts("train")
        return tuple(label for label in self.schema.ids if counts[label] >= min_images)

    def counts(self, split: str) -> Counter[str]:
        """Images of each label in a split."""
        return Counter(label for image in self.parts[split] for label in image.present)

    def require(self, *names: str) -> None:
        """Raises DataError, with the mend, when a split that is needed is empty."""
        for name in names:
            if self.parts[name]:
                continue
            if name == "certify" and self.spent:
                raise DataError(
                    f"no fresh image is left to certify on: {self.spent:,} have certified before and may only train "
                    "now; add images that nothing has used, or repeat the very promise that they certified"
                )
            if self.outside.get(name):
                raise DataError(
                    f"all {self.outside[name]:,} images of the split {name} fail the use conditions "
                    "(certification.conditions); add images that meet them, or mend the conditions"
                )
            raise DataError(f"the split {name} is empty; add images, or give it a larger share")


def load(recipe: Recipe, data: Path | None, bundle: Bundle | None = None) -> DataSet:
    """Finds and splits the images of a recipe. Raises DataError or DocumentError, each with the mend.

    Of a data folder the use-ledger is heard: a case keeps its split, and what has certified only trains. With a bundle
    the splits are those of its training, and what has certified this very bundle with this very promise does so again.
    """
    radius = recipe.data.near_duplicates
    fields = tuple(dict.fromkeys(condition.field for condition in recipe.certification.conditions))
    source = Path(recipe.data.source)
    if fields and (recipe.data.source == SAMPLE or source.is_dir()):
        raise DataError(
            f"the images of {recipe.data.source} say nothing of {fields[0]!r}, which certification.conditions asks for; list "
            "them in a CSV with that column, or take the condition out"
        )
    if recipe.data.source == SAMPLE:  # its splits are part of it; none of its images looks like one of another use
        _known(recipe, sample.schema(), bundle)
        return DataSet(sample.schema(), {split: _seen(sample.images(split), recipe, data) for split in SPLITS})
    rows = list(sources.folder(source) if source.is_dir() else sources.table(source, fields))
    if not rows:
        raise DataError(
            f"{source} holds no images; put them into folder/<label>/*.png or name a CSV with path and label"
        )
    schema, meaning = sources.schema(recipe.data, rows)
    _known(recipe, schema, bundle)
    images, looks = _indexed(rows, meaning, recipe.image, hashed=bool(radius))
    images = [replace(image, only_trains=_only_trains(row, recipe)) for row, image in zip(rows, images, strict=True)]
    alike = near_duplicates.pairs(looks, radius)
    if any(row.split for row in rows):
        parts, outside = _speaking(_as_told(source, rows, images, alike))
        return DataSet(schema, parts, outside=outside)
    images = _grouped(rows, images, alike, radius)
    # Only where nothing in a group came as it was: who picks one image must not take another out of the stream.
    stream = {image.group for image in images if image.only_trains != "chosen"}
    chosen = {image.group for image in images} - stream
    past = earlier.settle(data, images, recipe, bundle)
    parts = splits.by_share(
        images, asdict(recipe.data.shares), recipe.seed, {**past.splits, **dict.fromkeys(chosen, "train")}
    )
    if past.again:
        parts["certify"] = [image for image in parts["certify"] if image.name in past.again]
        parts["tune"] = [image for image in parts["tune"] if image.name in past.tuned]
    parts, outside = _speaking(parts)
    return DataSet(schema, parts, past.spent, outside)


def _known(recipe: Recipe, schema: LabelSchema, bundle: Bundle | None) -> None:
    """Before the minutes of training. A bundle has labels of its own, which certification compares with."""
    if bundle is None:
        refusals.targets(recipe, schema, recipe.data.source)


def _only_trains(row: Row, recipe: Recipe) -> str:
    """As an image says it."""
    if row.chosen:
        return "chosen"
    return "outside" if failing(recipe.certification.conditions, row.metadata) else ""


def _speaking(parts: dict[str, list[LabelledImage]]) -> tuple[dict[str, list[LabelledImage]], dict[str, int]]:
    """The splits without what says nothing of the certified stream, train aside; and how many were outside the conditions."""
    kept = {
        split: [image for image in part if split == "train" or not image.only_trains] for split, part in parts.items()
    }
    outside = {
        split: sum(image.only_trains == "outside" for image in part)
        for split, part in parts.items()
        if split != "train"
    }
    return kept, outside


def _indexed(
    rows: Sequence[Row], meaning: Mapping[str, str], spec: ImageSpec, hashed: bool
) -> tuple[list[LabelledImage], list[Looks]]:
    """Every image by its bytes' SHA-256, and what it looks like."""
    images: list[LabelledImage] = []
    looks: list[Looks] = []
    with bar("indexing", len(rows)) as advance, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for image, look in pool.map(partial(_image, meaning=meaning, spec=spec, hashed=hashed), rows, chunksize=64):
            images.append(image)
            looks.append(look)
            advance(1, "")
    return images, looks


def _image(row: Row, meaning: Mapping[str, str], spec: ImageSpec, hashed: bool) -> tuple[LabelledImage, Looks]:
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
        encoded = row.path.read_bytes()
    except OSError as error:
        raise DataError(f"{row.path}: {error.strerror}; put the file there or take its row out") from None
    name = hashlib.sha256(encoded).hexdigest()
    looks = near_duplicates.looks(encoded, spec) if hashed else ()
    case = row.case or name  # not the path: another folder may hold another image there
    return LabelledImage(name, case, frozenset(present), frozenset(unknown), row.path, b"".join(looks[:1])), looks


def _seen(images: list[LabelledImage], recipe: Recipe, data: Path | None) -> list[LabelledImage]:
    """The images with their looks, where a ledger will ask for them."""
    if data is None or not recipe.data.near_duplicates:
        return images
    return [
        replace(image, look=b"".join(near_duplicates.looks(image.encoded(), recipe.image, closer=False)))
        for image in images
    ]


def _grouped(
    rows: list[Row], images: list[LabelledImage], alike: list[tuple[int, int]], radius: int
) -> list[LabelledImage]:
    """The images with their groups. Raises DataError when so many look the same that the radius must be wrong."""
    groups = splits.joined(images, alike)
    for group, cases in Counter(groups.values()).most_common(1) if alike else ():
        if cases > max(SMALL_GROUP, LARGEST_GROUP * len(groups)):
            one, other = next((i, j) for i, j in alike if groups[images[i].case] == group)
            raise DataError(
                f"{cases:,} of the {len(groups):,} cases look the same in a chain (such as {rows[one].path} and "
                f"{rows[other].path}) and would all be in one split; lower "
                f"data.near_duplicates from {radius}, or turn it off with 0"
            )
    return [replace(image, group=groups[image.case]) for image in images]


def _as_told(
    source: Path, rows: list[Row], images: list[LabelledImage], alike: list[tuple[int, int]]
) -> dict[str, list[LabelledImage]]:
    """The splits that the data itself names, refused where what belongs together would be in two."""
    cases = splits.joined(images)
    seen: dict[str, tuple[Row, LabelledImage]] = {}
    parts: dict[str, list[LabelledImage]] = {split: [] for split in SPLITS}
    groups = splits.joined(images, alike)
    torn: list[tuple[Row, Row, str]] = []
    for row, image in zip(rows, images, strict=True):
        if not row.split:
            raise DataError(
                f"{source}: {_named(source, row)} has no split and others have; fill the column or leave it out"
            )
        before, first = seen.setdefault(cases[image.case], (row, image))
        if before.split != row.split:
            how = f"are of the case {row.case!r}" if row.case and row.case == before.case else "are identical"
            if first.case != image.case and first.name != image.name:
                how = "belong together through a case or an identical image"
            torn.append((before, row, how))
        parts[row.split].append(replace(image, group=groups[image.case]))
    if torn:
        raise DataError(_torn(source, torn))
    learn = {"train", "tune"}
    apart = [(rows[i], rows[j]) for i, j in alike if (rows[i].split in learn) != (rows[j].split in learn)]
    if apart:
        looking = [(one, other, "look the same") for one, other in apart]
        raise DataError(_torn(source, looking) + ", or lower data.near_duplicates")
    return parts


def _torn(source: Path, pairs: Sequence[tuple[Row, Row, str]]) -> str:
    one, other, how = pairs[0]
    more = len(pairs) - 1
    others = f" ({more:,} more {'pair is' if more == 1 else 'pairs are'} in two splits too)" if more else ""
    return (
        f"{source}: {_named(source, one)} and {_named(source, other)} {how}, and are in {one.split} and in "
        f"{other.split}{others}; give all of it one split"
    )


def _named(source: Path, row: Row) -> str:
    """As the CSV says it: base names are often alike in several folders."""
    return str(row.path.relative_to(source.parent) if row.path.is_relative_to(source.parent) else row.path)
