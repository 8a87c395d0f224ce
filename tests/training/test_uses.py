"""The ledger in use: through the commands, and in how data that has been used before is split."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from model_store import bundle as bundles
from model_store.bundle import Bundle
from secondreader import main
from tests.training.conftest import Trained
from training import certify, data, ledger
from training.errors import DataError
from training.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Bench:
    """A copy of the trained bundle, its photos and its ledger, to do with as a test likes."""

    data: Path
    photos: Path
    recipe: Recipe
    bundle: Bundle

    def run(self, *arguments: str) -> str:
        found = CliRunner().invoke(main, [*arguments, "--data", str(self.data)])
        assert found.exit_code == 0, found.output
        return found.output

    def add(self, count: int) -> None:
        """New photos of a colour that there is."""
        rng = np.random.default_rng(9)
        for index in range(count):
            pixels = np.clip(np.array((200, 60, 60)) + rng.normal(0, 50, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(self.photos / "red" / f"new{index}.png")


@pytest.fixture
def bench(trained: Trained, tmp_path: Path) -> Bench:
    photos = tmp_path / "photos"
    shutil.copytree(Path(trained.recipe.data.source), photos)
    moved = dataclasses.replace(trained.recipe, data=dataclasses.replace(trained.recipe.data, source=str(photos)))
    made = trained.result.bundle.folder.relative_to(trained.data)
    shutil.copytree(trained.data / made, tmp_path / "data" / made)
    ledger.record_training(tmp_path / "data", data.load(moved, None).parts, moved)
    return Bench(tmp_path / "data", photos, moved, bundles.open(tmp_path / "data" / made))


def test_certify_spends_its_images_and_says_so_in_one_line(bench: Bench) -> None:
    bench.run("certify", "colours/1")
    first = set((bench.data / "rules").glob("*.json"))
    bench.run("certify", "colours/1", "--site", "north")  # another name for where they are from; the same proof
    refused = CliRunner().invoke(main, ["certify", "colours/1", "--target", "0.7", "--data", str(bench.data)])
    assert refused.exit_code == 1
    assert refused.output.count("\n") == 1
    assert re.search(r"no fresh image is left to certify on: \d+ have certified before and may only", refused.output)
    assert len(set((bench.data / "rules").glob("*.json")) - first) == 1


def test_uses_lists_every_act(bench: Bench) -> None:
    bench.run("certify", "colours/1")
    acts = json.loads(bench.run("uses", "--json"))
    assert [(act["purpose"], act["planned"]) for act in acts] == [
        ("train", False), ("tune", False), ("certify", True), ("test", True),
        ("tune", False), ("certify", False), ("test", False),
    ]  # fmt: skip
    assert {act["of"]["model"] for act in acts} == {"colours/1"}
    assert acts[5]["images"] == acts[5]["cases"] > 100
    assert acts[5]["of"]["bundle"] == bench.bundle.digest
    assert "certify (set aside)" in bench.run("uses")
    empty = CliRunner().invoke(main, ["uses", "--data", str(bench.data / "elsewhere")])
    assert "nothing has been used yet" in " ".join(empty.output.split())


def test_data_that_is_added_moves_nothing_and_what_certified_trains_the_next_version(bench: Bench) -> None:
    before = data.load(bench.recipe, bench.data)
    bench.add(120)
    grown = data.load(bench.recipe, bench.data)
    for split, part in before.parts.items():
        assert {image.name for image in part} <= {image.name for image in grown.parts[split]}
    certify.run(bench.bundle, bench.recipe, bench.data, before)

    following = data.load(dataclasses.replace(bench.recipe, version="2"), bench.data)
    old = {image.name for part in before.parts.values() for image in part}
    assert following.spent == len(before.parts["certify"])
    assert {image.name for image in before.parts["certify"]} <= {image.name for image in following.parts["train"]}
    assert following.parts["certify"]
    assert not {image.name for image in following.parts["certify"]} & old
    assert {image.name for image in before.parts["test"]} <= {image.name for image in following.parts["test"]}

    again = data.load(bench.recipe, bench.data, bench.bundle)  # this very certification, whatever was added since
    assert [image.name for image in again.parts["certify"]] == [image.name for image in before.parts["certify"]]
    certify.run(bench.bundle, bench.recipe, bench.data, again)


def test_certifying_again_is_as_old_as_the_first_time_and_has_its_budget(bench: Bench) -> None:
    first = certify.run(bench.bundle, bench.recipe, bench.data, data.load(bench.recipe, bench.data, bench.bundle))
    bench.add(60)  # tuning images came too, and are not those that chose the thresholds
    again = certify.run(bench.bundle, bench.recipe, bench.data, data.load(bench.recipe, bench.data, bench.bundle))
    assert again.digest == first.digest
    assert any(rule.certificate for rule in first.classes.values())


def test_a_label_that_is_changed_after_it_certified_does_not_certify_again(bench: Bench) -> None:
    dataset = data.load(bench.recipe, bench.data, bench.bundle)
    certify.run(bench.bundle, bench.recipe, bench.data, dataset)
    for split in ("certify", "tune"):
        first, *rest = dataset.parts[split]
        changed = {**dataset.parts, split: [dataclasses.replace(first, present=frozenset({"blue", "red"})), *rest]}
        with pytest.raises(DataError, match="with other labels or other tuning images; put them back as they were"):
            certify.run(bench.bundle, bench.recipe, bench.data, dataclasses.replace(dataset, parts=changed))


def test_fresh_images_are_a_second_attempt_with_half_the_risk(bench: Bench) -> None:
    dataset = data.load(bench.recipe, bench.data, bench.bundle)
    part = dataset.parts["certify"]
    made = []
    for half in (part[::2], part[1::2]):
        parts = {**dataset.parts, "certify": half}
        made.append(certify.run(bench.bundle, bench.recipe, bench.data, dataclasses.replace(dataset, parts=parts)))
    proofs = [[rule.certificate for rule in rules.classes.values() if rule.certificate] for rules in made]
    assert all(proofs)
    assert [{(proof.attempt, proof.delta) for proof in each} for each in proofs] == [{(0, 0.1)}, {(1, 0.05)}]
    assert ledger.risk(bench.data, bench.bundle.digest) == pytest.approx(0.15)


def test_what_chose_thresholds_certifies_nothing_afterwards(bench: Bench) -> None:
    """Images that came after the training and were tuned on when the bundle was certified."""
    bench.add(60)
    dataset = data.load(bench.recipe, bench.data, bench.bundle)
    certify.run(bench.bundle, bench.recipe, bench.data, dataset)
    with pytest.raises(DataError, match="that would certify a model have tuned colours/1"):
        ledger.check(bench.data, "certify", dataset.parts["tune"][-1:], ledger.of_bundle(bench.bundle, bench.recipe))


def test_when_everything_has_certified_the_number_is_said(bench: Bench) -> None:
    before = data.load(bench.recipe, bench.data)
    certify.run(bench.bundle, bench.recipe, bench.data, before)
    following = data.load(dataclasses.replace(bench.recipe, version="2"), bench.data)
    sentence = (
        f"no fresh image is left to certify on: {len(before.parts['certify'])} have certified before and may only"
    )
    with pytest.raises(DataError, match=sentence):
        following.require("tune", "certify")


def test_a_copy_of_a_training_image_under_another_name_certifies_nothing(bench: Bench, tmp_path: Path) -> None:
    """The whole way: other files, another folder, saved anew as JPEG; only the look tells."""
    taught = data.load(bench.recipe, bench.data, bench.bundle).parts["train"]
    fresh = tmp_path / "fresh"
    for image in taught[:3]:
        assert isinstance(image.source, Path)
        target = fresh / image.source.parent.name / f"{image.name[:8]}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(image.source) as opened:
            opened.save(target, quality=95)
    shares = dataclasses.replace(bench.recipe.data.shares, train=0.02, tune=0.47, certify=0.49, test=0.02)
    other = dataclasses.replace(
        bench.recipe, data=dataclasses.replace(bench.recipe.data, source=str(fresh), shares=shares)
    )
    found = data.load(other, bench.data, bench.bundle)
    names = {hashlib.sha256(path.read_bytes()).hexdigest() for path in fresh.rglob("*.jpg")}
    assert {image.name for image in found.parts["train"]} == names  # heard, not shared out
    assert len(names) == 3
    everything = [image for part in found.parts.values() for image in part]
    with pytest.raises(DataError, match="3 of the 3 images that would certify a model have trained colours/1"):
        ledger.check(bench.data, "certify", everything, ledger.of_bundle(bench.bundle, other), 20)
    with pytest.raises(DataError, match="the split tune is empty; add images"):
        certify.run(bench.bundle, other, bench.data, found)
