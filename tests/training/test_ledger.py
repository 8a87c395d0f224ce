"""What certified may only train, what trained may not certify, and no crash or second process gets round it."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.conftest import Trained
from training import acts, ledger, recipe, sample
from training.acts import Purpose
from training.errors import DataError
from training.images import LabelledImage, from_bytes
from training.near_duplicates import looks
from training.splits import SPLITS

MODEL = {"model": "m/1", "training": "sha256:1", "bundle": "sha256:a", "promise": "sha256:p"}
OTHER = {"model": "n/1", "training": "sha256:2", "bundle": "sha256:b", "promise": "sha256:p"}
RADIUS = 20


def _images(start: int, count: int = 4) -> list[LabelledImage]:
    return [from_bytes(i.to_bytes(4), f"case{i}", ("a",)) for i in range(start, start + count)]


def _looking(seed: bytes, look: bytes) -> LabelledImage:
    return dataclasses.replace(from_bytes(seed, seed.hex(), ()), look=look)


FIRST = looks(sample.images("train")[0].encoded(), recipe.sample().image)[0]
ALIKE = bytes([FIRST[0] ^ 7]) + FIRST[1:]
USED = (_looking(b"used", FIRST), from_bytes(b"in a case", "p1", ()))
OVERLAPS = {
    "the same bytes": (from_bytes(b"used", "elsewhere", ()), "is one of them"),
    "the same case": (from_bytes(b"new", "p1", ()), "is of the same case, 'p1'"),
    "the same look": (_looking(b"saved anew", ALIKE), "looks the same as one of them"),
}


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("before", ["train", "tune"])
def test_what_taught_a_model_does_not_certify_it(tmp_path: Path, before: Purpose, overlap: str) -> None:
    image, how = OVERLAPS[overlap]
    ledger.record(tmp_path, before, USED, MODEL, RADIUS)
    with pytest.raises(
        DataError, match=rf"1 of the 2 images that would certify a model have {before}e?d m/1"
    ) as caught:
        ledger.record(tmp_path, "certify", [from_bytes(b"fresh", "f", ()), image], MODEL, RADIUS)
    assert how in str(caught.value)
    assert str(caught.value).endswith("take them out, or certify on fresh images")
    assert len(acts.read(tmp_path)) == 1
    ledger.record(tmp_path, "certify", [image], OTHER, RADIUS)  # which has not learned from it


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("again", SPLITS)
def test_what_certified_once_may_only_train(tmp_path: Path, again: Purpose, overlap: str) -> None:
    image, how = OVERLAPS[overlap]
    ledger.record(tmp_path, "certify", USED, MODEL, RADIUS)
    if again == "train" or (again == "test" and overlap == "the same look"):
        ledger.record(tmp_path, again, [image], OTHER, RADIUS)
        return
    with pytest.raises(DataError, match=r"have certified m/1 on .* and may only train now") as caught:
        ledger.check(tmp_path, again, [image], OTHER, RADIUS)
    assert how in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_same_certification_again_is_the_same_act_in_any_order(tmp_path: Path) -> None:
    images = _images(0)
    ledger.record(tmp_path, "certify", images, MODEL)
    before = [(path.name, path.read_bytes()) for path in (tmp_path / "uses").iterdir()]
    ledger.check(tmp_path, "certify", images, MODEL)
    ledger.record(tmp_path, "certify", list(reversed(images)), MODEL)
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "uses").iterdir()] == before
    for changed in ({**MODEL, "promise": "sha256:q"}, {**MODEL, "bundle": "sha256:c"}):
        with pytest.raises(DataError, match="repeat that very certification"):
            ledger.check(tmp_path, "certify", images, changed)
    with pytest.raises(DataError, match="3 of the 3 images"):
        ledger.check(tmp_path, "certify", images[:3], MODEL)


def test_an_act_done_again_keeps_its_time_and_its_number(tmp_path: Path) -> None:
    first = ledger.record(tmp_path, "certify", _images(0), {**MODEL, "delta": "0.1"})
    second = ledger.record(tmp_path, "certify", _images(10), {**MODEL, "delta": "0.2"})
    ledger.record(tmp_path, "certify", _images(20), {**OTHER, "delta": "0.4"})
    again = ledger.record(tmp_path, "certify", _images(0), {**MODEL, "delta": "0.1"})
    assert again == first
    assert again.when < second.when
    assert [ledger.attempt(tmp_path, act) for act in (first, second, again)] == [0, 1, 0]
    assert ledger.risk(tmp_path, "sha256:a") == pytest.approx(0.1 + 0.2 / 2)
    assert ledger.risk(tmp_path, "sha256:none") == 0


def test_however_often_a_bundle_is_certified_less_than_twice_delta_is_risked(tmp_path: Path) -> None:
    acts = [
        ledger.record(tmp_path, "certify", _images(10 * k), {**MODEL, "delta": "0.1", "evidence": str(k)})
        for k in range(12)
    ]
    assert [ledger.attempt(tmp_path, act) for act in acts] == list(range(12))
    assert 0.19 < ledger.risk(tmp_path, "sha256:a") < 0.2


def test_other_labels_or_other_tuning_images_are_another_certification(tmp_path: Path) -> None:
    of = {**MODEL, "evidence": "sha256:e", "tune": "sha256:t"}
    ledger.record(tmp_path, "certify", _images(0), of)
    for changed in ({"evidence": "sha256:f"}, {"tune": "sha256:u"}):
        with pytest.raises(DataError, match="with other labels or other tuning images; put them back as they were"):
            ledger.check(tmp_path, "certify", _images(0), {**of, **changed})


def test_test_images_may_be_read_again_and_plans_bind_nobody(tmp_path: Path) -> None:
    for of in (MODEL, OTHER):
        ledger.record(tmp_path, "test", _images(0), of)
    ledger.record(tmp_path, "certify", _images(10), MODEL, planned=True)
    ledger.record(tmp_path, "certify", _images(10), OTHER)


def test_a_promise_is_what_decides_which_class_passes_and_not_what_the_sites_are_called(trained: Trained) -> None:
    bundle, plain = trained.result.bundle, trained.recipe

    def promise(**knobs: object) -> str:
        changed = dataclasses.replace(plain.certification, **knobs)  # type: ignore[arg-type]
        return ledger.of_bundle(bundle, dataclasses.replace(plain, certification=changed))["promise"]

    assert promise() == promise(sites=("north",), project="other", provider="cuda")
    assert len({promise(), promise(target=0.7), promise(delta=0.2), promise(candidates=50)}) == 4


def test_a_changed_or_cut_file_is_named(tmp_path: Path) -> None:
    act = ledger.record(tmp_path, "train", _images(0), MODEL)
    path = tmp_path / "uses" / f"{act.digest}.json"
    whole = path.read_bytes()
    for broken in (whole.replace(b'"train"', b'"test"'), whole[:100], b""):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=re.escape(f"{path} is not as it was written; put this file")):
            ledger.check(tmp_path, "certify", _images(0), MODEL)


def test_cases_are_not_written_out(tmp_path: Path) -> None:
    act = ledger.record(tmp_path, "train", [from_bytes(b"x", "Jane Doe", ())], MODEL)
    assert b"Jane" not in (tmp_path / "uses" / f"{act.digest}.json").read_bytes()


DIES = """
import os, sys
from pathlib import Path
from training import ledger
from training.images import from_bytes
Path.rename = lambda *_: os.kill(os.getpid(), 9)
ledger.record(Path(sys.argv[1]), "certify", [from_bytes(b"x", "c", ())], {"model": "m/1"})
"""


def test_a_process_that_dies_while_it_writes_leaves_no_act_and_no_lock(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], check=False, timeout=60)
    assert died.returncode == -9
    assert list((tmp_path / "uses").glob("*.partial"))
    assert acts.read(tmp_path) == []
    ledger.record(tmp_path, "certify", [from_bytes(b"x", "c", ())], MODEL)
    assert len(acts.read(tmp_path)) == 1


RACES = """
import sys
from pathlib import Path
from training import ledger
from training.errors import DataError
from training.images import from_bytes
images = [from_bytes(i.to_bytes(4), f"case{i}", ()) for i in range(50)]
print("ready", flush=True)
sys.stdin.readline()
for n in range(5):
    try:
        ledger.record(Path(sys.argv[1]), "certify", images, {"bundle": f"{sys.argv[2]}-{n}"})
        print("certified")
    except DataError:
        print("refused")
"""


def test_of_processes_that_want_the_same_images_one_certifies(tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RACES, str(tmp_path), str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    said = []
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        out, _ = process.communicate(timeout=120)
        said += out.split()
    assert sorted(said) == ["certified"] + ["refused"] * 14
    assert len(acts.read(tmp_path)) == 1
