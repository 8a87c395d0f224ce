"""Labelled images from folders and CSV files; a mistake in them is one sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_store.conditions import Condition
from model_store.errors import DocumentError
from tests.bundles import picture
from training import data, recipe
from training.errors import DataError
from training.images import UNKNOWN, LabelledImage, truth
from training.recipe import Certification, Data, Recipe, Shares
from training.splits import SPLITS, one_per_case


def _recipe(source: Path, **knobs: object) -> Recipe:
    return dataclasses.replace(recipe.sample(), data=Data(source=str(source), **knobs))  # type: ignore[arg-type]


def _folder(root: Path, count: int = 40) -> Path:
    for label, colour in (("Ankle boot", "red"), ("shirt", "green")):
        (root / label).mkdir(parents=True)
        for salt in range(count):
            (root / label / f"{salt}.png").write_bytes(picture(colour, salt=salt))
    return root


def test_a_folder_of_labels(tmp_path: Path) -> None:
    found = data.load(_recipe(_folder(tmp_path / "photos")), None)
    assert [(label.id, label.name) for label in found.schema.labels] == [
        ("ankle-boot", "Ankle boot"),
        ("shirt", "shirt"),
    ]
    assert sum(len(part) for part in found.parts.values()) == 80
    assert sum(found.counts(split)["shirt"] for split in SPLITS) == 40
    assert found.heads(min_images=1) == ("ankle-boot", "shirt")
    assert found.heads(min_images=1000) == ()


def _csv(tmp_path: Path, text: str, files: int = 6) -> Path:
    for index in range(files):
        (tmp_path / f"{index}.png").write_bytes(picture("red", salt=index))
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return path


def test_a_csv_with_several_labels_unknown_ones_cases_and_splits(tmp_path: Path) -> None:
    path = _csv(
        tmp_path,
        "path,label,case,split\n0.png,a;b,p1,train\n1.png,?b,p1,train\n2.png,,p2,tune\n3.png,b,p3,certify\n4.png,a,p4,test\n",
    )
    found = data.load(_recipe(path), None)
    assert {split: len(part) for split, part in found.parts.items()} == {"train": 2, "tune": 1, "certify": 1, "test": 1}
    assert truth(found.parts["train"], ("a", "b")).tolist() == [[1, 1], [0, UNKNOWN]]
    assert truth(found.parts["tune"], ("a", "b")).tolist() == [[0, 0]]
    assert found.parts["train"][0].case == found.parts["train"][1].case == "p1"


def test_labels_may_be_declared_and_written_by_name_or_id(tmp_path: Path) -> None:
    declared = ({"id": "a", "name": "Apple"}, {"id": "b", "name": "Bread"})
    path = _csv(tmp_path, "path,label\n0.png,Apple\n1.png,a\n2.png,b\n")
    found = data.load(_recipe(path, labels=declared), None)
    assert sum((found.counts(split) for split in SPLITS), start=type(found.counts("train"))()) == {"a": 2, "b": 1}


MISTAKES = {
    "file,label\n": "the column 'path' is missing; name it in the first line",
    "path,label\n": "holds no images; put them into folder/<label>/*.png or name a CSV with path and label",
    "path,label,split\n0.png,a,trian\n": "line 2: split = 'trian'; write one of train, tune, certify, test",
    "path,label\n,a\n": "line 2: path is empty; name the image file",
    "path,label\nmissing.png,a\n": "No such file or directory; put the file there or take its row out",
    "path,label\n0.png,?!\n": "makes no id; declare it under data.labels with an id and this name",
    "path,label,split\n0.png,a,train\n1.png,a,\n": "1.png has no split and others have; fill the column or leave it out",
    "path,label,case,split\n0.png,a,p,train\n1.png,a,p,test\n": "0.png and 1.png are of the case 'p', and are in train and in "
    "test; give all of it one split",
    "path,label,split\n0.png,a,train\n0.png,a,test\n": "0.png and 0.png are identical, and are in train and in test; give",
    "path,label,case,split\n0.png,a,p,train\n0.png,a,q,train\n1.png,a,q,test\n": "0.png and 1.png belong together",
    "path,label,drawn\n0.png,a,picked\n": "line 2: drawn = 'picked'; write stream for an image as it came, chosen for one",
    "path,label,split,drawn\n0.png,a,certify,chosen\n": "line 2: a chosen image is in certify, where only images as they",
    "path,label\n0.png,A b\n1.png,a-b\n": "label id 'a-b' stands twice; give each its own",
}


@pytest.mark.parametrize(("text", "sentence"), MISTAKES.items(), ids=list(MISTAKES.values()))
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises((DataError, DocumentError)) as caught:
        data.load(_recipe(_csv(tmp_path, text)), None)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_undeclared_label_is_refused(tmp_path: Path) -> None:
    path = _csv(tmp_path, "path,label\n0.png,c\n")
    with pytest.raises(DataError, match=r"the label 'c' is not declared; add it under data\.labels"):
        data.load(_recipe(path, labels=({"id": "a", "name": "A"},)), None)


@pytest.mark.parametrize("source", ["sample", "photos"])
def test_a_target_of_an_unknown_label_is_refused_before_training(tmp_path: Path, source: str) -> None:
    where = source if source == "sample" else str(_folder(tmp_path / source))
    asked = dataclasses.replace(
        recipe.sample(), name="shoes", data=Data(source=where), certification=Certification(targets={"shrit": 0.9})
    )
    with pytest.raises(
        DocumentError,
        match=r"^recipe shoes: certification\.targets\.shrit: 'shrit' is no label of .*; mend its spelling \(la",
    ):
        data.load(asked, None)


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    found = data.load(_recipe(_csv(tmp_path, "path,label,split\n0.png,a,train\n")), None)
    (tmp_path / "0.png").write_bytes(b"other")
    with pytest.raises(DataError, match="changed while it was being used; start again"):
        found.parts["train"][0].encoded()


def test_shares_are_the_recipes(tmp_path: Path) -> None:
    shares = Shares(train=0.97, tune=0.01, certify=0.01, test=0.01)
    found = data.load(_recipe(_folder(tmp_path / "photos"), shares=shares), None)
    assert len(found.parts["train"]) > 70


def _photos(root: Path, kinds: int) -> list[Path]:
    """`kinds` different pictures as PNG, and each again as JPEG under another name."""
    rng = np.random.default_rng(3)
    made = []
    for kind in range(kinds):
        shapes = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).resize((160, 130))
        for ending in ("png", "jpg"):
            made.append(root / f"{kind}.{ending}")
            shapes.save(made[-1])
    return made


def test_images_that_look_the_same_share_a_split_and_certify_once(tmp_path: Path) -> None:
    names = [path.name for path in _photos(tmp_path, 40)]
    path = tmp_path / "labels.csv"
    path.write_text("path,label\n" + "".join(f"{name},a\n" for name in names))
    found = data.load(_recipe(path), None)
    for split, part in found.parts.items():
        stems = [image.source.stem for image in part if isinstance(image.source, Path)]
        assert all(stems.count(stem) == 2 for stem in stems), split
        assert len(one_per_case(part, seed=1)) == len(set(stems))
    apart = data.load(_recipe(path, near_duplicates=0), None)
    assert any(
        len({image.source.stem for image in part if isinstance(image.source, Path)}) * 2 != len(part)
        for part in apart.parts.values()
    )


def test_images_that_look_the_same_in_train_and_in_certify_are_refused(tmp_path: Path) -> None:
    _photos(tmp_path, 1)
    path = tmp_path / "labels.csv"
    path.write_text("path,label,split\n0.png,a,train\n0.jpg,a,certify\n")
    with pytest.raises(
        DataError, match=r"0\.png and 0\.jpg look the same, and are in train and in certify; give all of it"
    ):
        data.load(_recipe(path), None)
    path.write_text("path,label,split\n0.png,a,train\n0.jpg,a,tune\n")  # a model may learn from both
    assert len(data.load(_recipe(path), None).parts["tune"]) == 1


def test_what_is_torn_is_named_as_the_csv_does_and_counted(tmp_path: Path) -> None:
    for folder in ("monday", "tuesday"):
        (tmp_path / folder).mkdir()
        _photos(tmp_path / folder, 3)
    path = tmp_path / "labels.csv"
    rows = [
        f"{day}/{index}.png,a,{split}\n"
        for day, split in (("monday", "train"), ("tuesday", "test"))
        for index in range(3)
    ]
    path.write_text("path,label,split\n" + "".join(rows))
    with pytest.raises(
        DataError, match=r"monday/0\.png and tuesday/0\.png are identical, .* \(2 more pairs are in two splits too\)"
    ):
        data.load(_recipe(path), None)
    path.write_text(
        "path,label,split\n"
        + "".join(rows)
        .replace("tuesday/1.png", "tuesday/1.jpg")
        .replace("y/2.png", "y/2.jpg")
        .replace("tuesday/0.png,a,test", "tuesday/0.jpg,a,train")
        .replace("monday/2.jpg", "monday/2.png")
    )
    with pytest.raises(
        DataError,
        match=r"monday/1\.png and tuesday/1\.jpg look the same, .* \(1 more pair is in two splits too\); .*, or lower",
    ):
        data.load(_recipe(path), None)


def test_a_radius_that_joins_too_much_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    rng = np.random.default_rng(0)
    shapes = np.asarray(Image.fromarray(rng.integers(0, 256, (32, 32), np.uint8)).resize((64, 64)))
    for index in range(30):
        noisy = np.clip(shapes + rng.normal(0, 1, shapes.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(tmp_path / "a" / f"{index}.png")
    sentence = r"30 of the 30 cases look the same in a chain \(such as .*\.png and .*\.png\).*; lower data\.near_dup"
    with pytest.raises(DataError, match=sentence):
        data.load(_recipe(tmp_path), None)
    assert sum(map(len, data.load(_recipe(tmp_path, near_duplicates=0), None).parts.values())) == 30


def _names(found: list[LabelledImage]) -> set[str]:
    return {image.source.name for image in found if isinstance(image.source, Path)}


def test_chosen_images_only_train_and_take_no_image_out_of_the_stream(tmp_path: Path) -> None:
    """Of each pair one image came as it was and the other was picked: the pair is split as if nobody had picked."""
    count = 240
    drawn = ["stream" if i % 3 == 0 else "chosen" if i % 3 == 1 else "" for i in range(count)]
    lines = [f"{i}.png,a,p{i // 2 if i < 120 else i},{drawn[i]}\n" for i in range(count)]
    found = data.load(_recipe(_csv(tmp_path, "path,label,case,drawn\n" + "".join(lines), files=count)), None)
    picked = {f"{i}.png" for i in range(1, count, 3)}
    assert {f"{i}.png" for i in range(121, count, 3)} <= _names(found.parts["train"])
    together = set()
    for split in ("tune", "certify", "test"):
        assert _names(found.parts[split])
        assert not _names(found.parts[split]) & picked
        together |= {f"{i}.png" for i in range(120) if f"{i ^ 1}.png" in picked} & _names(found.parts[split])
    assert len(together) > 10


CONDITIONS = (
    Condition(field="scanner", one_of=("x1", "x2")),
    Condition(field="age", at_least=18),
    Condition(field="role", one_of=("current",)),
)


def _conditional(source: Path, conditions: tuple[Condition, ...] = CONDITIONS) -> Recipe:
    plain = _recipe(source)
    return dataclasses.replace(plain, certification=dataclasses.replace(plain.certification, conditions=conditions))


def test_images_outside_the_use_conditions_may_train_and_nothing_else(tmp_path: Path) -> None:
    rows = [(f"{i}.png", ("x1", "x2", "x3", "")[i % 4], ("18", "17.5", "70", "old")[i // 4 % 4]) for i in range(160)]
    text = "path,label,scanner,age,role\n" + "".join(f"{name},a,{scanner},{age},\n" for name, scanner, age in rows)
    path = _csv(tmp_path, text, files=160)
    found, everything = data.load(_conditional(path), None), data.load(_recipe(path), None)
    meets = {name for name, scanner, age in rows if scanner in ("x1", "x2") and age in ("18", "70")}
    assert _names(found.parts["train"]) == _names(everything.parts["train"])
    for split in ("tune", "certify", "test"):
        assert _names(found.parts[split]) == _names(everything.parts[split]) & meets
        assert found.outside[split] == len(everything.parts[split]) - len(found.parts[split]) > 0


def test_a_split_whose_images_all_fail_the_conditions_says_so(tmp_path: Path) -> None:
    path = _csv(
        tmp_path, "path,label,split,scanner\n0.png,a,train,x1\n1.png,a,tune,x1\n2.png,a,certify,y\n3.png,a,certify,\n"
    )
    found = data.load(_conditional(path, CONDITIONS[:1]), None)
    found.require("tune")
    with pytest.raises(
        DataError, match=r"all 2 images of the split certify fail the use conditions .*; add images that meet"
    ):
        found.require("certify")


def test_conditions_need_columns_and_say_so_in_one_sentence(tmp_path: Path) -> None:
    path = _csv(tmp_path, "path,label,scanner\n0.png,a,x1\n")
    with pytest.raises(
        DataError, match=r"the column 'age' is missing, which certification\.conditions asks for; add it, or"
    ):
        data.load(_conditional(path), None)
    with pytest.raises(
        DataError, match=r"say nothing of 'scanner', which certification\.conditions asks for; list them in a CSV"
    ):
        data.load(_conditional(_folder(tmp_path / "photos", 3)), None)
    shipped = dataclasses.replace(recipe.sample().certification, conditions=CONDITIONS[:1])
    with pytest.raises(DataError, match="say nothing of 'scanner'"):
        data.load(dataclasses.replace(recipe.sample(), certification=shipped), None)


@pytest.mark.parametrize("split", ["tune", "certify"])
def test_an_empty_split_is_one_sentence(tmp_path: Path, split: str) -> None:
    found = data.load(_recipe(_csv(tmp_path, "path,label,split\n0.png,a,train\n1.png,a,test\n")), None)
    with pytest.raises(DataError, match=f"the split {split} is empty; add images, or give it a larger share"):
        found.require(split)
