"""The use-ledger's rules: what an image may still be used for. The acts themselves: acts.py.

1. What has certified once may afterwards only train: it tunes, certifies and tests nothing more.
2. What trained or tuned a model certifies neither it nor any other model trained on the same images.
3. "It" is the image, every image of its case, and every image that has the same bytes or looks the same.
4. The same certification again (bundle, promise, images) is the same act: allowed, and written once.
5. Test images may be read again, and may look like one that certified: a report proves nothing.

Checking and adding happen under one lock, so that of two processes that want the same images one is refused.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from model_store.bundle import Bundle
from training.acts import PURPOSES, Act, Purpose, case_key, content, locked, of_images, read, write
from training.errors import DataError
from training.images import LabelledImage, fingerprint
from training.near_duplicates import within
from training.recipe import Recipe

_NAMES_ONLY = {"project", "sites", "provider", "valid_days"}
"""What a promise is called and where it is served; nothing that decides which class passes."""


def of_training(recipe: Recipe, train: Iterable[LabelledImage]) -> dict[str, str]:
    """What training and tuning are for: a model that is known by what it was trained on."""
    return {"model": f"{recipe.name}/{recipe.version}", "training": fingerprint(train)}


def of_bundle(bundle: Bundle, recipe: Recipe) -> dict[str, str]:
    """What a certification is for: this bundle, and the promise that decides which class passes."""
    plain = recipe.to_dict()
    knobs = {key: value for key, value in plain["certification"].items() if key not in _NAMES_ONLY}
    promise = content({"certification": knobs, "typicality": plain.get("typicality")})
    manifest = bundle.manifest
    return {
        "model": f"{manifest.name}/{manifest.version}",
        "training": manifest.provenance.data_fingerprint,
        "bundle": bundle.digest,
        "promise": "sha256:" + hashlib.sha256(promise).hexdigest(),
    }


def check(
    data: Path, purpose: Purpose, images: Sequence[LabelledImage], of: Mapping[str, str], radius: int = 0
) -> None:
    """Raises DataError, in one sentence with the mend, when these images may not be used so."""
    _check(read(data), of_images(purpose, images, of, planned=False), images, radius)


def record(
    data: Path,
    purpose: Purpose,
    images: Sequence[LabelledImage],
    of: Mapping[str, str],
    radius: int = 0,
    planned: bool = False,
) -> Act:
    """Writes the act, unless it is there already, and returns it. Raises DataError as `check` does."""
    act = of_images(purpose, images, of, planned)
    with locked(data):
        acts = read(data)
        if all(old.digest != act.digest for old in acts):
            if not planned:
                _check(acts, act, images, radius)
            write(data, act, datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"))
    return act


def record_training(data: Path, parts: Mapping[str, list[LabelledImage]], recipe: Recipe) -> None:
    """What a model is about to learn from, and what its split sets aside: before any weight changes.

    Before, so that no crash leaves a trained model behind that the ledger does not know of.
    """
    of, radius = of_training(recipe, parts["train"]), recipe.data.near_duplicates
    for purpose in PURPOSES:
        if parts[purpose]:
            record(data, purpose, parts[purpose], of, radius, planned=purpose in ("certify", "test"))


def _check(acts: Sequence[Act], act: Act, images: Sequence[LabelledImage], radius: int) -> None:
    if act.purpose == "train" or any(old.digest == act.digest for old in acts):
        return
    for old in acts:
        spent = old.purpose == "certify"
        same_training = bool(act.of.get("training")) and old.of.get("training") == act.of.get("training")
        taught = act.purpose == "certify" and old.purpose in ("train", "tune") and same_training
        if old.planned or not (spent or taught):
            continue
        overlap = _overlap(old, images, 0 if act.purpose == "test" else radius)
        if overlap:
            raise DataError(_refusal(act.purpose, old, images, overlap))


def _overlap(old: Act, images: Sequence[LabelledImage], radius: int) -> list[tuple[LabelledImage, str]]:
    """The images that the act has used, each with how it is known."""
    names, cases, looks = set(old.names), set(old.cases), near(old, images, radius)
    found = []
    for index, image in enumerate(images):
        if image.name in names:
            found.append((image, "is one of them"))
        elif case_key(image) in cases:
            found.append((image, f"is of the same case, {image.case!r}"))
        elif index in looks:
            found.append((image, "looks the same as one of them"))
    return found


def near(old: Act, images: Sequence[LabelledImage], radius: int) -> set[int]:
    """Indices of the images that look like one the act has used."""
    mine = [index for index, image in enumerate(images) if image.look]
    theirs = [bytes.fromhex(look) for look in old.looks if look]
    if not radius or not mine or not theirs:
        return set()
    found, _ = within([images[index].look for index in mine], theirs, radius)
    return {mine[int(index)] for index in found}


def _refusal(purpose: str, old: Act, images: Sequence[LabelledImage], overlap: list[tuple[LabelledImage, str]]) -> str:
    image, how = overlap[0]
    what = image.name[:12] if isinstance(image.source, bytes) else str(image.source)
    share = f"{len(overlap):,} of the {len(images):,} images that would {purpose} a model"
    if old.purpose == "certify":
        return (
            f"{share} have certified {old.of.get('model')} on {old.at[:10]} and may only train now ({what} {how}); "
            f"{purpose} on images that have certified nothing, or repeat that very certification"
        )
    verb = {"train": "trained", "tune": "tuned"}[old.purpose]
    return (
        f"{share} have {verb} {old.of.get('model')} or what was trained on the same images ({what} {how}); "
        f"take them out, or certify on fresh images"
    )
