"""The use-ledger's rules: what an image may still be used for. The acts themselves: acts.py.

1. What has certified once may afterwards only train: it tunes, certifies and tests nothing more.
2. What trained or tuned a model certifies neither it nor any other model trained on the same images.
3. "It" is the image, every image of its case, and every image that has the same bytes or looks the same.
4. The same certification again (bundle, promise, images and labels of evidence and of tuning) is the same act: allowed,
   written once, and as old as the first time.
5. A bundle's certifications are numbered as they came: number k has `delta / 2**k`, and all together risk less than twice
   `delta`, however often somebody tries.
6. Test images may be read again, and may look like one that certified: a report proves nothing.

Checking and adding happen under one lock, so that of two processes that want the same images one is refused.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from model_store.bundle import Bundle
from training.acts import Act, Purpose, case_keys, content, locked, of_images, read, write
from training.errors import DataError
from training.images import LabelledImage, fingerprint
from training.near_duplicates import within
from training.recipe import Recipe
from training.splits import SPLITS

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
        "delta": repr(recipe.certification.delta),
    }


def of_evidence(
    bundle: Bundle, recipe: Recipe, tune: Iterable[LabelledImage], evidence: Iterable[LabelledImage]
) -> dict[str, str]:
    """What one certification is: a bundle and a promise, on these images with these labels."""
    return {**of_bundle(bundle, recipe), "tune": fingerprint(tune), "evidence": fingerprint(evidence)}


def same_promise(act: Act, of: Mapping[str, str]) -> bool:
    """Whether the act is for the bundle and the promise of `of_bundle`, on whatever images."""
    return all(act.of.get(key) == value for key, value in of.items())


def readings_of(data: Path, rules: str) -> Act | None:
    """The certification on readings that were drawn under rules of this digest, if there was one."""
    return next((act for act in read(data) if act.spends and act.of.get("rules") == rules), None)


def tuned(data: Path, of: Mapping[str, str]) -> frozenset[str]:
    """Names of the images that chose the thresholds of a certification."""
    return frozenset(
        name for act in read(data) if act.purpose == "tune" and dict(act.of) == dict(of) for name in act.names
    )


def attempts(data: Path, bundle: str) -> int:
    """How many certifications a bundle has had."""
    return len(_certifications(data, bundle))


def attempt(data: Path, act: Act) -> int:
    """How many certifications of its bundle came before this one."""
    return sum(old.at < act.at for old in _certifications(data, act.of.get("bundle", "")))


def risk(data: Path, bundle: str) -> float:
    """At most so probable is it that any certificate of a bundle (its digest) ever claimed too much, over all attempts."""
    found = _certifications(data, bundle)
    return sum((float(act.of.get("delta", 1)) * 0.5**k for k, act in enumerate(found)), start=0.0)


def _certifications(data: Path, bundle: str) -> list[Act]:
    return [act for act in read(data) if act.spends and act.of.get("bundle") == bundle]


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
    """Writes the act and returns it; one that is there already is returned as it was. Raises DataError as `check` does."""
    act = of_images(purpose, images, of, planned)
    with locked(data):
        acts = read(data)
        for old in acts:
            if old.digest == act.digest:
                return old
        if not planned:
            _check(acts, act, images, radius)
        now = datetime.datetime.now(datetime.UTC)
        if acts:  # a clock that was set back must not number an attempt before an older one
            now = max(now, acts[-1].when + datetime.timedelta(microseconds=1))
        act = dataclasses.replace(act, at=now.isoformat(timespec="microseconds"))
        write(data, act)
    return act


def record_training(data: Path, parts: Mapping[str, list[LabelledImage]], recipe: Recipe) -> None:
    """What a model is about to learn from, and what its split sets aside: before any weight changes.

    Before, so that no crash leaves a trained model behind that the ledger does not know of.
    """
    of, radius = of_training(recipe, parts["train"]), recipe.data.near_duplicates
    for purpose in SPLITS:
        if parts[purpose]:
            record(data, purpose, parts[purpose], of, radius, planned=purpose in ("certify", "test"))


def unusable(
    data: Path, images: Sequence[LabelledImage], of: Mapping[str, str], radius: int, ours: str
) -> frozenset[str]:
    """Names of the images that may not certify, because another act used them than those on readings of the rules `ours`."""
    acts = [act for act in read(data) if not (act.spends and act.of.get("rules") == ours)]
    act = of_images("certify", images, of, planned=False)
    return frozenset(image.name for _, overlap in _conflicts(acts, act, images, radius) for image, _ in overlap)


def _check(acts: Sequence[Act], act: Act, images: Sequence[LabelledImage], radius: int) -> None:
    if any(old.digest == act.digest for old in acts):
        return
    for old, overlap in _conflicts(acts, act, images, radius):
        if old.spends and act.names == old.names and same_promise(old, _promise(act.of)):
            raise DataError(
                f"these images have certified {old.of.get('model')} on {old.at[:10]} with other labels or other tuning "
                "images; put them back as they were, or certify on images that have certified nothing"
            )
        raise DataError(_refusal(act.purpose, old, images, overlap))


def _conflicts(
    acts: Sequence[Act], act: Act, images: Sequence[LabelledImage], radius: int
) -> Iterator[tuple[Act, list[tuple[LabelledImage, str]]]]:
    """Each older act because of which images of this one may not be used so, and those images."""
    for old in acts if act.purpose != "train" else ():
        same_training = bool(act.of.get("training")) and old.of.get("training") == act.of.get("training")
        taught = act.purpose == "certify" and old.purpose in ("train", "tune") and same_training
        if old.planned or not (old.spends or taught):
            continue
        overlap = _overlap(old, images, 0 if act.purpose == "test" else radius)
        if overlap:
            yield old, overlap


def _promise(of: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in of.items() if key not in ("tune", "evidence")}


def _overlap(old: Act, images: Sequence[LabelledImage], radius: int) -> list[tuple[LabelledImage, str]]:
    """The images that the act has used, each with how it is known."""
    names, cases, looks = set(old.names), set(old.cases), near(old, images, radius)
    found = []
    for index, image in enumerate(images):
        if image.name in names:
            found.append((image, "is one of them"))
        elif not cases.isdisjoint(case_keys(image)):
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
