"""Evidence through a real model: a class that looks at one corner lights that corner. And how it stays out of the way."""

from __future__ import annotations

import asyncio
import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from model_store import bundle as bundles
from model_store.bundle import Bundle, Golden
from model_store.decode import decode
from model_store.labels import Label, LabelSchema
from model_store.manifest import ImageSpec, Manifest, Provenance
from model_store.prediction import Prediction
from model_store.preprocess import preprocess
from tests.bundles import WHEN, picture
from tests.services import DEADLINE_S
from triage.calling.evidence import Evidence
from triage.classifier.inprocess import InProcessClassifier
from triage.errors import Busy, Conflict, Invalid
from triage.metrics import Metrics
from triage.store.blobs import LocalBlobs

SIDE = 28
CORNERS = {"north_west": (0, 0), "south_east": (1, 1)}
SPEC = ImageSpec(height=SIDE, width=SIDE)


def graph() -> bytes:
    """Each class's probability is sigmoid(20 * (mean of its quarter / 255 - 0.5))."""
    constants: dict[str, Any] = {
        "scale": np.array(20 / 255, np.float32), "shift": np.array(-10, np.float32),
        "axes": np.array([1, 2, 3], np.int64), "cut": np.array([1, 2], np.int64),
    }  # fmt: skip
    nodes = [helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT)]
    for name, (row, column) in CORNERS.items():
        half = SIDE // 2
        constants[f"{name}_from"] = np.array([row * half, column * half], np.int64)
        constants[f"{name}_to"] = np.array([(row + 1) * half, (column + 1) * half], np.int64)
        nodes += [
            helper.make_node("Slice", ["pixels", f"{name}_from", f"{name}_to", "cut"], [f"{name}_quarter"]),
            helper.make_node("ReduceMean", [f"{name}_quarter", "axes"], [f"{name}_kept"], keepdims=1),
            helper.make_node("Flatten", [f"{name}_kept"], [name], axis=1),
        ]
    nodes += [
        helper.make_node("Concat", list(CORNERS), ["means"], axis=1),
        helper.make_node("Mul", ["means", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["embedding"]),
        helper.make_node("Sigmoid", ["embedding"], ["probability"]),
        helper.make_node("Shape", ["image"], ["rows"], start=0, end=1),
        helper.make_node(
            "ConstantOfShape", ["rows"], ["typicality"], value=numpy_helper.from_array(np.array([1], np.float32))
        ),
    ]
    made = helper.make_graph(
        nodes, "corners", [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("typicality", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 2]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def corners(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    encoded, samples = graph(), (picture("grey"), picture("black"))
    image: Any = np.stack([preprocess(decode(each, SPEC).pixels, SPEC) for each in samples])
    half = SIDE // 2
    quarters = [
        image[:, row * half : (row + 1) * half, column * half : (column + 1) * half] for row, column in CORNERS.values()
    ]
    logits = (
        np.stack([each.astype(np.float32).mean(axis=(1, 2, 3)) for each in quarters], axis=1) * np.float32(20 / 255)
        - 10
    )
    manifest = Manifest(
        name="corners", version="1", labels=LabelSchema(labels=tuple(Label(id=name, name=name) for name in CORNERS)),
        heads=tuple(CORNERS), image=SPEC, embedding=2, opset=18,
        graph_digest="sha256:" + hashlib.sha256(encoded).hexdigest(),
        provenance=Provenance(created_at=WHEN, code_version="test", data_fingerprint="none"),
    )  # fmt: skip
    logits = logits.astype(np.float32)
    golden = Golden(samples, image, (1 / (1 + np.exp(-logits))).astype(np.float32), np.ones(2, np.float32), logits)
    return bundles.write(tmp_path_factory.mktemp("corners") / "models" / "corners" / "1", encoded, manifest, golden)


class Counted:
    """A real classifier whose questions are counted, and held while `gate` is shut."""

    def __init__(self) -> None:
        self.inner = InProcessClassifier("cpu", 1, Metrics())
        self.asked = 0
        self.at_once = 0
        self.begun, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def classify(self, image: bytes, model: Bundle) -> Prediction:
        self.asked += 1
        self.at_once += 1
        self.begun.set()
        assert self.at_once == 1, "one question at a time"
        try:
            await self.gate.wait()
            return await self.inner.classify(image, model)
        finally:
            self.at_once -= 1

    async def close(self) -> None:
        await self.inner.close()


@pytest.fixture
async def stored(tmp_path: Path) -> LocalBlobs:
    pixels = np.full((84, 112, 3), 40, np.uint8)
    pixels[:42, :56] = 150
    pixels[42:, 56:] = 150
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    blobs = LocalBlobs(tmp_path / "blobs")
    for name in ("p/s/a", "p/s/b", "p/s/c", "p/s/d", "p/s/e", "p/s/f"):
        await blobs.put(name, stream.getvalue())
    return blobs


@pytest.mark.parametrize("label", CORNERS)
async def test_a_class_that_looks_at_one_corner_lights_that_corner(
    corners: Bundle, stored: LocalBlobs, label: str
) -> None:
    classifier = Counted()
    png = await Evidence(classifier, stored, lambda: False).overlay("p/s/a", corners, label, SPEC)
    await classifier.close()
    assert classifier.asked == 50
    with Image.open(io.BytesIO(png)) as image:
        assert image.size == (112, 84)
        shown = np.asarray(image.convert("RGB")).astype(int)
    warmth = shown[:, :, 0] - shown[:, :, 2]
    quarters = {
        (row, column): warmth[row * 42 : row * 42 + 42, column * 56 : column * 56 + 56]
        for row in (0, 1)
        for column in (0, 1)
    }
    lit = quarters.pop(CORNERS[label])
    assert lit.mean() > 50
    assert all(each.mean() < lit.mean() / 5 for each in quarters.values())


async def test_what_was_computed_is_kept_and_what_is_no_label_is_refused(corners: Bundle, stored: LocalBlobs) -> None:
    classifier = Counted()
    evidence = Evidence(classifier, stored, lambda: False)
    first = await evidence.overlay("p/s/a", corners, "north_west", SPEC)
    assert await evidence.overlay("p/s/a", corners, "north_west", SPEC) is first
    assert classifier.asked == 50
    with pytest.raises(Invalid, match="choose from north_west, south_east"):
        await evidence.overlay("p/s/a", corners, "east", SPEC)
    await classifier.close()


async def test_one_is_computed_at_a_time_and_few_wait(corners: Bundle, stored: LocalBlobs) -> None:
    classifier = Counted()
    classifier.gate.clear()
    evidence = Evidence(classifier, stored, lambda: False)
    asking = [asyncio.create_task(evidence.overlay(f"p/s/{name}", corners, "north_west", SPEC)) for name in "abcd"]
    await asyncio.wait_for(classifier.begun.wait(), DEADLINE_S)
    with pytest.raises(Busy, match="other evidence is being computed; ask for this again"):
        await evidence.overlay("p/s/e", corners, "north_west", SPEC)
    classifier.gate.set()
    assert len({await each for each in asking}) == 1, "the images are the same"
    assert classifier.asked == 200
    await evidence.overlay("p/s/e", corners, "north_west", SPEC)
    await classifier.close()


async def test_images_that_are_being_answered_go_first(corners: Bundle, stored: LocalBlobs) -> None:
    classifier, busy, asides, often = Counted(), True, 0, asyncio.Event()

    def answering() -> bool:
        nonlocal asides
        asides += 1
        if asides == 5:
            often.set()
        return busy

    asking = asyncio.create_task(Evidence(classifier, stored, answering).overlay("p/s/a", corners, "north_west", SPEC))
    await asyncio.wait_for(often.wait(), DEADLINE_S)
    assert classifier.asked == 1, "the whole image, and no patch while others wait"
    busy = False
    await asking
    await classifier.close()


async def test_another_graph_under_the_same_name_explains_nothing(corners: Bundle, stored: LocalBlobs) -> None:
    class Other(Counted):
        async def classify(self, image: bytes, model: Bundle) -> Prediction:
            return replace(await super().classify(image, model), graph="sha256:" + "0" * 64)

    classifier = Other()
    with pytest.raises(Conflict, match="is served with another graph by now"):
        await Evidence(classifier, stored, lambda: False).overlay("p/s/a", corners, "north_west", SPEC)
    await classifier.close()
