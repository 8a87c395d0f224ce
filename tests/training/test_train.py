"""From files to a certified bundle with a tiny network: every step is the real one."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from model_store import bundle as bundles
from model_store import keys, rules, signing
from model_store.engine import Engine
from model_store.errors import BundleError, DocumentError, ProviderUnavailable
from secondreader import main
from tests.training.conftest import Trained
from training import certify, commands, data, evaluate, export, loop, model, tensors, train
from training.calibrate import Platt
from training.errors import DataError, ExportError
from training.images import UNKNOWN
from training.recipe import Model, Recipe, Training
from training.splits import one_per_case


def test_the_bundle_opens_with_every_check_and_learned_the_colours(trained: Trained) -> None:
    result = trained.result
    opened = bundles.open(result.bundle.folder, verify="full")
    assert opened.digest == result.bundle.digest
    assert opened.manifest.heads == result.heads == ("blue", "green", "red")
    assert set(result.without_head) == {"grey"}
    assert result.accuracy > 0.95
    assert result.loss[-1] < result.loss[0] / 2
    assert result.parity <= export.PARITY


def test_the_graph_is_plain_onnx_with_a_free_batch_size(trained: Trained) -> None:
    graph = onnx.load(trained.result.bundle.graph)
    assert [node.name for node in graph.graph.input] == ["image"]
    assert [node.name for node in graph.graph.output] == ["probability", "typicality", "embedding"]
    assert graph.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    engine = Engine.open(trained.result.bundle)
    for count in (1, 3):
        probability, typicality, embedding = engine.run(np.zeros((count, 16, 16, 3), np.uint8))
        assert (probability.shape, typicality.shape, embedding.shape[0]) == ((count, 3), (count,), count)


def test_golden_images_show_as_many_labels_as_there_are(trained: Trained) -> None:
    found = data.load(trained.recipe, None)
    kept = train.golden(found.parts["tune"], trained.result.heads, trained.recipe)
    present = {label for image in found.parts["tune"] for label in image.present}
    assert {label for image in kept for label in image.present} == present
    assert trained.result.bundle.golden().encoded == tuple(image.encoded() for image in kept)


def test_the_recipe_in_the_manifest_is_the_one_that_trained(trained: Trained) -> None:
    from training.recipe import from_dict

    assert from_dict(trained.result.bundle.manifest.provenance.recipe) == trained.recipe


def test_certified_rules_answer_right_on_test_images(trained: Trained) -> None:
    made = certify.run(trained.result.bundle, trained.recipe, trained.data)
    assert rules.find(trained.data, made.digest) == made
    signing.check(made, rules.path_of(trained.data, made.digest), keys.trusted_folder(trained.data))
    states = {label: rule.state for label, rule in made.classes.items()}
    assert states == {"blue": "automatic", "green": "automatic", "red": "automatic", "grey": "human"}
    found = evaluate.run(trained.result.bundle, made, data.load(trained.recipe, trained.data, trained.result.bundle))
    assert found.all.coverage > 0.8
    assert found.all.precision is not None
    assert found.all.precision > 0.9
    assert found.all.interval[1] >= 0.8


def test_reports_lie_beside_the_bundle_and_leave_its_digest_alone(trained: Trained) -> None:
    folder = trained.result.bundle.folder
    report = json.loads((folder.with_name("1.report") / "training.json").read_text())
    assert report["bundle"]["digest"] == trained.result.bundle.digest
    assert bundles.open(folder, verify="full").digest == trained.result.bundle.digest


def test_an_existing_version_is_refused_before_any_work(trained: Trained) -> None:
    with pytest.raises(BundleError, match="bundles never change; write the next version into the recipe"):
        train.run(trained.recipe, trained.data)


def _weights(recipe: Recipe) -> dict[str, torch.Tensor]:
    """A few steps on a few images."""
    found = data.load(recipe, None)
    heads = ("blue", "green", "red")
    few = tensors.read(found.parts["train"][:40], heads, recipe.image, "reading")
    train._prepare(recipe)
    network = model.create(recipe, np.full(3, 0.3, np.float32), *few.moments())
    loop.fit(network, few, dataclasses.replace(recipe.training, epochs=1), recipe.seed)
    return dict(network.state_dict())


def test_the_same_seed_gives_the_same_weights_and_another_does_not(trained: Trained) -> None:
    one, two = _weights(trained.recipe), _weights(trained.recipe)
    assert all(torch.equal(one[key], two[key]) for key in one)
    other = _weights(dataclasses.replace(trained.recipe, seed=6))
    assert not torch.equal(one["head.weight"], other["head.weight"])


class Linear(torch.nn.Module):
    """A backbone without memory of the batch, so that one pass and several have to agree."""

    num_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3 * 8 * 8, 6)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.linear(pixels.flatten(1))
        return out


def _gradient(micro_batch: int, truth: np.ndarray) -> torch.Tensor:
    torch.manual_seed(0)
    network = model.Network(Linear(), 2, np.zeros(3, np.float32), np.full(3, 255, np.float32))
    image = np.random.default_rng(0).integers(0, 256, (len(truth), 8, 8, 3), np.uint8)
    knobs = Training(micro_batch=micro_batch, flip=False, shift=0)
    loop._step(
        network,
        torch.from_numpy(image),
        torch.from_numpy(truth),
        np.arange(len(truth)),
        knobs,
        np.random.default_rng(0),
    )
    gradient = network.head.weight.grad
    assert gradient is not None
    return gradient


def test_small_passes_add_up_to_one_step_of_the_effective_batch() -> None:
    """Uneven passes and uneven numbers of known labels in them are weighted right."""
    truth = np.random.default_rng(1).choice(np.array([0, 1, UNKNOWN], np.int8), (23, 2))
    assert torch.allclose(_gradient(4, truth), _gradient(64, truth), atol=1e-7)


def test_unknown_labels_pull_on_nothing() -> None:
    truth = np.full((8, 2), UNKNOWN, np.int8)
    assert _gradient(64, truth).abs().max() == 0
    truth[:, 0] = 1
    assert (_gradient(64, truth).abs().amax(dim=1) > 0).tolist() == [True, False]


def test_augmentation_moves_and_mirrors_whole_images() -> None:
    image = torch.arange(12 * 10, dtype=torch.uint8).reshape(1, 12, 10, 1).repeat(200, 1, 1, 3)
    moved = loop.augment(image, Training(shift=0.1, flip=True), np.random.default_rng(0))
    assert moved.shape == image.shape
    centre = {int(one) for one in moved[:, 6, 5, 0]}
    # Moves by one row and one column at most, mirrored or not: nothing else can be in the middle.
    assert centre == {10 * row + column for row in (5, 6, 7) for column in (3, 4, 5, 6)}
    still = loop.augment(image, Training(shift=0, flip=False), np.random.default_rng(0))
    assert torch.equal(still, image)


def test_a_loss_that_is_no_number_is_said(trained: Trained) -> None:
    few = tensors.Tensors(np.zeros((8, 16, 16, 3), np.uint8), np.ones((8, 3), np.int8))
    network = model.create(trained.recipe, np.full(3, 0.3, np.float32), *few.moments())
    with torch.no_grad():
        network.head.bias.fill_(float("nan"))
    with pytest.raises(DataError, match=r"lower training\.learning_rate"):
        loop.fit(network, few, trained.recipe.training, 0)


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        (Model(backbone="resnet1"), "model.backbone = 'resnet1': timm knows no such model; did you mean resnet"),
        (Model(options={"chanels": 3}), "recipe: model.options: test_resnet refuses them ("),
        (Model(pretrained="/nowhere.pt"), "model.pretrained = '/nowhere.pt': no weights file ("),
    ],
    ids=["backbone", "options", "pretrained"],
)
def test_a_model_that_cannot_be_is_one_sentence(trained: Trained, knobs: Model, sentence: str) -> None:
    wrong = dataclasses.replace(trained.recipe, model=knobs)
    with pytest.raises(DocumentError) as caught:
        model.create(wrong, np.full(3, 0.3, np.float32), np.zeros(3, np.float32), np.ones(3, np.float32))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_local_weights_are_loaded_and_foreign_ones_refused(trained: Trained, tmp_path: Path, ending: str) -> None:
    from safetensors.torch import save_file

    moments = np.full(3, 0.3, np.float32), np.zeros(3, np.float32), np.ones(3, np.float32)
    source = model.create(trained.recipe, *moments).backbone.state_dict()
    path = tmp_path / f"weights.{ending}"
    save = torch.save if ending == "pt" else save_file
    save({**{key: value.contiguous() for key, value in source.items()}, "fc.weight": torch.zeros(10, 4)}, path)
    wanted = dataclasses.replace(trained.recipe, model=Model(pretrained=str(path)))
    loaded = model.create(wanted, *moments).backbone.state_dict()
    assert all(torch.equal(loaded[key], source[key]) for key in source)
    foreign = dataclasses.replace(trained.recipe, model=Model(backbone="test_vit", pretrained=str(path)))
    with pytest.raises(DocumentError, match=r"tensors of test_vit are not in it; name weights of this backbone"):
        model.create(foreign, *moments)


def test_a_graph_that_disagrees_with_torch_is_refused(trained: Trained) -> None:
    few = trained.result.bundle.golden().image
    moments = np.zeros(3, np.float32), np.ones(3, np.float32)
    network = model.create(trained.recipe, np.full(3, 0.3, np.float32), *moments).eval()
    plain = Platt(np.ones(3, np.float32), np.zeros(3, np.float32))
    with pytest.raises(ExportError, match="differs from torch by"):
        export.check_parity(export.Graph(network, plain), trained.result.bundle.graph.read_bytes(), few)


def test_cuda_without_a_device_is_said_before_any_work(trained: Trained, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    asked = dataclasses.replace(trained.recipe, training=Training(device="cuda"))
    with pytest.raises(ProviderUnavailable, match=r"training\.device = 'cuda': torch sees no CUDA device"):
        train.run(asked, tmp_path)


def test_an_image_that_serving_refuses_is_named(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "broken.png").write_bytes(b"{}")
    broken = dataclasses.replace(trained.recipe, data=dataclasses.replace(trained.recipe.data, source=str(tmp_path)))
    images = [image for part in data.load(broken, None).parts.values() for image in part]
    with pytest.raises(DataError, match=r"broken\.png: the body is JSON; send one of JPEG, PNG, WEBP, or take it out"):
        tensors.read(images, ("a",), broken.image, "reading")


@pytest.mark.parametrize("split", ["certify", "test"])
def test_a_broken_image_that_would_certify_or_test_is_refused_before_training(
    trained: Trained, tmp_path: Path, split: str
) -> None:
    shutil.copytree(trained.file.parent / "photos", tmp_path / "photos")
    rows = [(f"photos/red/{index}.{'png' if index % 3 else 'jpg'}", "red", "train") for index in range(30)]
    rows += [("photos/blue/1.png", "blue", "tune"), ("photos/green/1.png", "green", split)]
    (tmp_path / "photos" / "green" / "1.png").write_bytes(b"{}")
    (tmp_path / "labels.csv").write_text("path,label,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
    source = dataclasses.replace(trained.recipe.data, source=str(tmp_path / "labels.csv"), near_duplicates=0)
    with pytest.raises(DataError, match=r"green/1\.png: the body is JSON; .*, or take it out of the data"):
        train.run(dataclasses.replace(trained.recipe, data=source), tmp_path / "data")
    assert not (tmp_path / "data").exists(), "nothing is used up by it"


def test_training_says_what_is_next_and_what_it_uses_up(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    commands._show_training(trained.result)
    count = len(one_per_case(data.load(trained.recipe, None).parts["certify"], trained.recipe.seed))
    said = capsys.readouterr().out
    assert (
        "next: secondreader plan colours/1 (uses nothing up), then secondreader certify colours/1 "
        f"(uses the {count} certification images up)"
    ) in said
    assert "WARNING" not in said
    commands._show_training(dataclasses.replace(trained.result, evidence_lacks="only 3 images can certify"))
    assert "WARNING: only 3 images can certify\n" in capsys.readouterr().out
    assert "certify once" in CliRunner().invoke(main, ["certify", "--help"]).output


def test_certify_prints_a_table_and_json(trained: Trained) -> None:
    table = CliRunner().invoke(main, ["certify", "colours/1", "--data", str(trained.data)])
    assert table.exit_code == 0, table.output
    assert "grey: " in table.output
    printed = CliRunner().invoke(
        main, ["certify", str(trained.result.bundle.folder), "--data", str(trained.data), "--site", "north", "--json"]
    )
    found = json.loads(printed.stdout)
    assert found["rules"]["sites"] == ["north"]
    assert rules.find(trained.data, found["digest"]).sites == ("north",)
    assert found["test"]["all"]["answered"] > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["certify", "colours/9"], "no model 'colours/9' in"),
        (["train", "nowhere.toml"], "nowhere.toml: No such file or directory; name a recipe, or `sample`"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_one(trained: Trained, arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(main, [*arguments, "--data", str(trained.data)])
    assert result.exit_code == 1
    assert sentence in result.output
    assert result.output.count("\n") == 1


def test_train_command_refuses_what_exists(trained: Trained) -> None:
    result = CliRunner().invoke(main, ["train", str(trained.file), "--data", str(trained.data)])
    assert result.exit_code == 1
    assert "write the next version into the recipe" in result.output


def test_one_cycle_rises_to_the_peak_and_falls_to_nothing() -> None:
    rates = [loop.one_cycle(step / 1000, 0.25) for step in range(1000)]
    assert rates.index(max(rates)) == 250
    assert rates[0] == pytest.approx(0.04)
    assert rates[250] == 1.0
    assert rates[-1] < 1e-4
    assert (np.diff(rates[:251]) > 0).all()
    assert (np.diff(rates[250:]) < 0).all()


def test_deep_images_train_and_export(trained: Trained, tmp_path: Path) -> None:
    """16-bit tensors go the whole way: augmentation, graph, engine."""
    deep = dataclasses.replace(
        trained.recipe,
        image=trained.recipe.image.model_copy(update={"dtype": "uint16"}),
        training=dataclasses.replace(trained.recipe.training, epochs=1),
    )
    result = train.run(deep, tmp_path)
    graph = onnx.load(result.bundle.graph)
    assert graph.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT16
    bundles.open(result.bundle.folder, verify="full")
