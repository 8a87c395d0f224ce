"""A recipe survives TOML, and a mistake in it is one line that names file, key, value and the mend."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import DocumentError
from training import recipe as recipes
from training.recipe import Certification, Data, Model, Recipe, Training

IMAGE = "[image]\nheight = 28\nwidth = 28\n"

MISTAKES = {
    'name = "Fashion!"\n' + IMAGE: "name = 'Fashion!': string should match pattern",
    IMAGE: "name is missing; add it",
    'name = "x"\n': "image is missing; add it",
    'name = "x"\n[image]\nheight = 28\n': "image.width is missing; add it",
    'name = "x"\n[image]\nheight = 28\nwidht = 28\n': "image.widht = 28: no such key; did you mean width?",
    'name = "x"\nsed = 3\n' + IMAGE: "sed = 3: no such key; did you mean seed?",
    'name = "x"\n[traning]\n' + IMAGE: "traning = {}: no such key; did you mean training?",
    'name = "x"\n[training]\nepocs = 3\n' + IMAGE: "training.epocs = 3: no such key; did you mean epochs?",
    'name = "x"\n[training]\nzzz = 3\n'
    + IMAGE: "training.zzz = 3: no such key; remove it; known here: epochs, batch_size",
    'name = "x"\n[training]\nepochs = 0\n' + IMAGE: "training.epochs = 0: input should be greater than or equal to 1",
    'name = "x"\n[training]\nepochs = "many"\n' + IMAGE: "training.epochs = 'many': input should be a valid integer",
    'name = "x"\n[training]\ndevice = "tpu"\n' + IMAGE: "training.device = 'tpu': input should be 'cpu' or 'cuda'",
    'name = "x"\n[certification]\ntarget = 1.0\n' + IMAGE: "certification.target = 1.0: input should be less than 1",
    'name = "x"\n[certification]\nsites = []\n' + IMAGE: "certification.sites = []: tuple should have at least 1 item",
    'name = "x"\n[data.shares]\ntrain = 0.9\n' + IMAGE: "train, tune, certify and test make 1.4; let them make 1",
    'name = "x"\n[data]\nsource = "photos"\n' + IMAGE: "data.source = 'photos'",
    'name = "x"\n[model]\npretrained = "w.pt"\n' + IMAGE: "mend the path (relative to the recipe)",
    'name = "x"\n[[certification.conditions]]\nfeld = "age"\nat_least = 18\n'
    + IMAGE: "certification.conditions.0.feld = 'age': no such key; did you mean field?",
    'name = "x"\n[[certification.conditions]]\nfield = "age"\n'
    + IMAGE: "the condition on age needs either one_of, or at_least and at_most; give one kind",
    'name = "x"\n[[data.labels]]\nid = "a"\nnam = "A"\n'
    + IMAGE: "data.labels.0.nam = 'A': no such key; did you mean name?",
    'name = "x"\nname = "y"\n': "no TOML (Cannot overwrite a value (at line 2, column 11)); mend that line",
}


@pytest.mark.parametrize(("text", "sentence"), MISTAKES.items(), ids=list(MISTAKES.values()))
def test_a_mistake_is_one_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(DocumentError) as caught:
        recipes.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert sentence in message
    assert "\n" not in message


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"none\.toml: No such file or directory; name a recipe, or `sample`"):
        recipes.read(tmp_path / "none.toml")


def test_the_shipped_recipe_reads_and_is_the_sample() -> None:
    shipped = recipes.sample()
    assert (shipped.name, shipped.data.source) == ("fashion", recipes.SAMPLE)


def test_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    path = tmp_path / "my.toml"
    path.write_text('name = "x"\n[data]\nsource = "photos"\n' + IMAGE)
    assert recipes.read(path).data.source == str(tmp_path / "photos")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.builds(
        Recipe,
        name=st.just("x"),
        image=st.just(recipes.sample().image),
        seed=st.integers(0, 2**31),
        data=st.builds(Data, source=texts, min_images=st.integers(1, 1000)),
        model=st.builds(
            Model,
            backbone=texts,
            options=st.dictionaries(
                st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
                st.booleans() | st.integers(-5, 5) | texts | st.lists(st.integers(0, 512), max_size=4),
            ),
            pretrained=texts,
            dropout=st.floats(0, 0.9),
        ),
        training=st.builds(Training, learning_rate=st.floats(1e-9, 10), flip=st.booleans()),
        certification=st.builds(
            Certification, target=st.floats(0.01, 0.99), sites=st.lists(texts.filter(bool), min_size=1).map(tuple)
        ),
    )
)
def test_toml_out_and_in_is_the_same_recipe(recipe: Recipe) -> None:
    import tomllib

    assert recipes.from_dict(tomllib.loads(recipes.dumps(recipe))) == recipe


def test_labels_survive_toml() -> None:
    import tomllib

    labelled = recipes.from_dict(
        {
            "name": "x",
            "image": {"height": 8, "width": 8},
            "data": {
                "labels": [
                    {"id": "a", "name": "A", "group": "g", "codes": {"snomed": "1", "icd 10": "J93.9"}},
                    {"id": "b", "name": "B", "group": "g"},
                ],
                "groups": [{"id": "g", "kind": "independent"}],
            },
        }
    )
    assert recipes.from_dict(tomllib.loads(recipes.dumps(labelled))) == labelled


def test_use_conditions_survive_toml() -> None:
    import tomllib

    values = {
        "name": "x",
        "image": {"height": 8, "width": 8},
        "certification": {
            "target": 0.9,
            "conditions": [
                {"field": "scanner", "one_of": ['A "1"', "B"]},
                {"field": "age", "at_least": 18, "at_most": 90.5},
            ],
        },
    }
    declared = recipes.from_dict(values)
    assert [each.field for each in declared.certification.conditions] == ["scanner", "age"]
    assert "[[certification.conditions]]" in recipes.dumps(declared)
    assert recipes.from_dict(tomllib.loads(recipes.dumps(declared))) == declared


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipes.sample().training.epochs = 3  # type: ignore[misc]
