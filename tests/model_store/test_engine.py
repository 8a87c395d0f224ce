"""The engine on real ONNX Runtime: exactly the provider asked for, errors one by one, no image sees its neighbours."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from model_store import engine as engines
from model_store.bundle import Bundle
from model_store.engine import Engine
from model_store.errors import BundleError, ImageError, ProviderUnavailable, ReplyError
from model_store.prediction import Prediction, decode, encode
from tests import bundles
from tests.model_store import images
from tests.model_store.test_bundle import regolden, regraph


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine.open(bundles.make(tmp_path_factory.mktemp("engine")))


def answer(result: Prediction | ImageError) -> Prediction:
    assert isinstance(result, Prediction)
    return result


def test_a_prediction_carries_its_scores_and_what_made_them(engine: Engine) -> None:
    red = answer(engine.predict([bundles.picture("red")])[0])
    assert red.graph == engine.bundle.manifest.graph_digest
    assert (red.provider, red.precision) == ("cpu", "fp32")
    assert red.probability.dtype == np.float32
    assert red.probability[0] > 0.9 > 0.5 > red.probability[1]
    assert red.typicality == 1
    assert red.embedding.dtype == np.float16
    assert red.embedding.shape == (3,)
    assert red.decode_ms > 0
    assert red.run_ms > 0
    assert decode(encode(red)).probability.tobytes() == red.probability.tobytes()


def test_bad_images_are_errors_in_their_place_and_touch_no_neighbour(engine: Engine) -> None:
    good = [bundles.picture(colour) for colour in ("red", "green", "blue")]
    bad = [b"", images.TEXTS["html"], images.animated("GIF"), images.encoded("JPEG")[:-20], images.bomb()]
    mixed = [bad[0], good[0], bad[1], bad[2], good[1], bad[3], good[2], bad[4]]
    results = engine.predict(mixed)
    assert [type(result).__name__ for result in results] == [
        "EmptyImage", "Prediction", "FormatNotAllowed", "FormatNotAllowed", "Prediction", "UnusableImage", "Prediction",
        "ImageTooLarge",
    ]  # fmt: skip
    alone = [answer(engine.predict([image])[0]) for image in good]
    for index, expected in zip((1, 4, 6), alone, strict=True):
        assert answer(results[index]).probability.tobytes() == expected.probability.tobytes()


@pytest.mark.parametrize("batch", [[], [b""], [b"", b"text"]])
def test_a_batch_without_a_single_good_image_is_fine(engine: Engine, batch: list[bytes]) -> None:
    results = engine.predict(batch)
    assert len(results) == len(batch)
    assert all(isinstance(result, ImageError) for result in results)


@given(st.lists(st.tuples(st.sampled_from(list(bundles.COLOURS)), st.integers(0, 4)), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_an_answer_does_not_depend_on_its_batch(engine: Engine, batch: list[tuple[str, int]]) -> None:
    data = [bundles.picture(colour, salt=salt) for colour, salt in batch]
    for image, result in zip(data, engine.predict(data), strict=True):
        alone = answer(engine.predict([image])[0])
        assert answer(result).probability.tobytes() == alone.probability.tobytes()
        assert answer(result).embedding.tobytes() == alone.embedding.tobytes()


@given(st.integers(0, 100), st.sampled_from(list(engines._BUCKETS.values())))
def test_chunks_hold_every_image_once_in_a_size_that_is_ever_run(count: int, buckets: tuple[int, ...]) -> None:
    chunks = list(engines._chunks(list(range(count)), buckets))
    assert [index for chunk, _ in chunks for index in chunk] == list(range(count))
    assert all(padded in buckets and len(chunk) <= padded for chunk, padded in chunks)


def test_padding_changes_no_answer(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The buckets of a graphics card, run here: rows of nothing beside an image do not reach it."""
    data = [bundles.picture(colour) for colour in ("red", "green", "blue")]
    alone = [answer(result) for result in engine.predict(data)]
    monkeypatch.setitem(engines._BUCKETS, "cpu", (1, 2, 4, 8))
    for result, expected in zip(engine.predict(data), alone, strict=True):
        assert np.abs(answer(result).probability - expected.probability).max() < 1e-6
    engine.warm()


def test_cuda_without_cuda_is_one_sentence_and_never_the_processor(engine: Engine) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime brings CUDA")
    with pytest.raises(ProviderUnavailable) as caught:
        Engine.open(engine.bundle, "cuda")
    assert str(caught.value) == (
        "cuda was asked for and this onnxruntime does not have it; install onnxruntime-gpu and its CUDA, or ask for cpu"
    )


def test_threads_are_those_asked_for(engine: Engine) -> None:
    two = Engine.open(engine.bundle, threads=2)
    assert two._session.get_session_options().intra_op_num_threads == 2
    data = bundles.picture("red")
    expected = answer(engine.predict([data])[0]).probability
    assert np.abs(answer(two.predict([data])[0]).probability - expected).max() < 1e-6


def test_golden_samples_pass_and_a_changed_one_does_not(tmp_path: Path) -> None:
    bundle = bundles.make(tmp_path)
    Engine.open(bundle).check_golden()
    shifted = bundle.golden().probability.copy()
    shifted[1, 2] += 0.01
    with pytest.raises(BundleError, match=r"golden image 1 differs by 0\.0100 on cpu"):
        Engine.open(regolden(bundle, probability=shifted)).check_golden()


def test_a_golden_image_that_no_longer_decodes_is_found(tmp_path: Path) -> None:
    bundle = bundles.make(tmp_path)
    samples = [bundles.picture("red"), b"broken", bundles.picture("blue")]
    other = regolden(
        bundle,
        encoded=np.frombuffer(b"".join(samples), np.uint8),
        encoded_sizes=np.array([len(sample) for sample in samples], np.int64),
    )
    with pytest.raises(BundleError, match=r"golden image 1 is refused \(.*\); export it again"):
        Engine.open(other).check_golden()


def rewired(change: Any) -> bytes:
    model = onnx.load_model_from_string(bundles.graph())
    change(model.graph)
    return bytes(model.SerializeToString())


def drop_embedding(graph: onnx.GraphProto) -> None:
    del graph.output[2]


def two_classes(graph: onnx.GraphProto) -> None:
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2
    graph.node.append(helper.make_node("Identity", ["probability_3"], ["unused"]))
    sigmoid = next(node for node in graph.node if node.op_type == "Sigmoid")
    sigmoid.output[0] = "probability_3"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([0, 1], np.int64), "first_two"))
    graph.node.append(helper.make_node("Gather", ["probability_3", "first_two"], ["probability"], axis=1))


def other_size(graph: onnx.GraphProto) -> None:
    graph.input[0].type.tensor_type.shape.dim[1].dim_value = 17


def other_name(graph: onnx.GraphProto) -> None:
    graph.input[0].name = "pixels_in"
    graph.node[0].input[0] = "pixels_in"
    next(node for node in graph.node if node.op_type == "Shape").input[0] = "pixels_in"


def other_type(graph: onnx.GraphProto) -> None:
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (drop_embedding, "has no 'embedding'"),
        (two_classes, "probability"),
        (other_size, "image"),
        (other_name, "image"),
        (other_type, "image"),
    ],
)
def test_a_graph_that_does_not_fit_its_manifest_is_refused_when_it_opens(
    tmp_path: Path, change: Any, says: str
) -> None:
    bundle = regraph(bundles.make(tmp_path), rewired(change))
    with pytest.raises(BundleError, match=f"{says}.*; export it again"):
        Engine.open(bundle)


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"does not load .*; export the bundle again"):
        Engine.open(regraph(bundles.make(tmp_path), b"rubbish"))


def test_another_graph_never_runs_under_the_digest_of_the_manifest(tmp_path: Path) -> None:
    """A gateway opens bundles by their manifest alone; the engine is the last to see the file."""
    bundle = bundles.make(tmp_path)
    bundle.graph.write_bytes(bundle.graph.read_bytes().replace(b"mean_colour", b"mean_c0lour"))
    with pytest.raises(BundleError, match="is not the graph that the manifest names; copy the whole bundle again"):
        Engine.open(bundle)


def nan_bundle(tmp_path: Path) -> Bundle:
    def change(graph: onnx.GraphProto) -> None:
        next(tensor for tensor in graph.initializer if tensor.name == "scale").CopyFrom(
            onnx.numpy_helper.from_array(np.array(np.nan, np.float32), "scale")
        )

    return regraph(bundles.make(tmp_path), rewired(change))


def test_a_graph_that_gives_nan_never_gives_a_prediction(tmp_path: Path) -> None:
    with pytest.raises(ReplyError, match="NaN or outside"):
        Engine.open(nan_bundle(tmp_path)).predict([bundles.picture("red")])


def test_an_embedding_beyond_float16_is_kept_finite_and_warns_of_nothing(tmp_path: Path) -> None:
    def change(graph: onnx.GraphProto) -> None:
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(1e6, np.float32), "large"))
        next(node for node in graph.node if node.op_type == "Add").output[0] = "logits"
        next(node for node in graph.node if node.op_type == "Sigmoid").input[0] = "logits"
        graph.node.append(helper.make_node("Mul", ["logits", "large"], ["embedding"]))

    bundle = regraph(bundles.make(tmp_path), rewired(change))
    result = answer(Engine.open(bundle).predict([bundles.picture("red")])[0])
    assert np.isfinite(result.embedding).all()
    assert result.embedding.max() == np.finfo(np.float16).max


def test_the_graph_is_the_one_whose_digest_every_answer_names(engine: Engine) -> None:
    digest = hashlib.sha256(engine.bundle.graph.read_bytes()).hexdigest()
    assert answer(engine.predict([bundles.picture("blue")])[0]).graph == f"sha256:{digest}"
