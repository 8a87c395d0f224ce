"""A bundle on disk: written once and whole, every altered file found, nothing unsafe inside the graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from model_store import bundle as store
from model_store.bundle import Bundle, Golden
from model_store.errors import BundleError, DocumentError, ModelStoreError
from tests import bundles


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return bundles.make(tmp_path)


def reseal(bundle: Bundle) -> Bundle:
    """Writes SHA256SUMS anew, as somebody would who changed a file on purpose; opened without its graph."""
    lines = [f"{hashlib.sha256((bundle.folder / name).read_bytes()).hexdigest()}  {name}\n" for name in store.FILES]
    (bundle.folder / "SHA256SUMS").write_text("".join(lines))
    return store.open(bundle.folder)


def regraph(bundle: Bundle, graph: bytes) -> Bundle:
    """Another graph in the same bundle, every digest right."""
    (bundle.folder / "model.onnx").write_bytes(graph)
    manifest = json.loads((bundle.folder / "manifest.json").read_bytes())
    manifest["graph_digest"] = "sha256:" + hashlib.sha256(graph).hexdigest()
    (bundle.folder / "manifest.json").write_text(json.dumps(manifest))
    return reseal(bundle)


def regolden(bundle: Bundle, **changes: Any) -> Bundle:
    """Other golden samples in the same bundle, every digest right."""
    with np.load(bundle.folder / "golden.npz") as stored:
        arrays = {**stored, **changes}
    np.savez(bundle.folder / "golden.npz", **{name: value for name, value in arrays.items() if value is not None})
    return reseal(bundle)


def test_what_is_written_opens_and_runs(bundle: Bundle) -> None:
    opened = store.open(bundle.folder, verify="full")
    assert opened == bundle
    assert sorted(path.name for path in bundle.folder.iterdir()) == sorted([*store.FILES, "SHA256SUMS"])
    assert opened.digest == "sha256:" + hashlib.sha256((bundle.folder / "SHA256SUMS").read_bytes()).hexdigest()
    assert opened.manifest.graph_digest == store.file_digest(bundle.graph)
    golden = opened.golden()
    assert golden.encoded == tuple(bundles.picture(colour) for colour in ("red", "green", "blue"))
    assert golden.probability.shape == (3, 3)


def test_sums_are_what_sha256sum_checks(bundle: Bundle) -> None:
    for line in (bundle.folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((bundle.folder / name).read_bytes()).hexdigest() == digest


def test_a_bundle_is_never_overwritten(tmp_path: Path, bundle: Bundle) -> None:
    before = bundle.graph.read_bytes()
    with pytest.raises(BundleError, match="exists and bundles never change; choose the next version"):
        bundles.make(tmp_path)
    assert bundle.graph.read_bytes() == before


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, bundle: Bundle) -> None:
    folder = tmp_path / "models" / "colours" / "2"
    golden = bundle.golden()
    with pytest.raises(BundleError, match="graph_digest is not that of the graph; compute it"):
        store.write(folder, bundles.graph(17), bundle.manifest, golden)
    with pytest.raises(BundleError, match="not ONNX"):
        store.write(folder, b"rubbish", bundle.manifest, golden)
    (folder.parent / "9").write_text("a file where a folder should be")
    with pytest.raises(BundleError):
        store.write(folder.parent / "9", bundle.graph.read_bytes(), bundle.manifest, golden)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["1", "9"]


@pytest.mark.parametrize("name", store.FILES)
def test_each_altered_file_is_found(bundle: Bundle, name: str) -> None:
    path = bundle.folder / name
    content = path.read_bytes()
    path.write_bytes(content.replace(b"colours", b"c0lours") if name == "manifest.json" else content + b"\0")
    with pytest.raises(
        BundleError, match=rf"{name} is not the file that SHA256SUMS names; copy the whole bundle again"
    ):
        store.open(bundle.folder, verify="full")


@pytest.mark.parametrize("name", [*store.FILES, "SHA256SUMS"])
def test_each_missing_file_is_found(bundle: Bundle, name: str) -> None:
    (bundle.folder / name).unlink()
    with pytest.raises(ModelStoreError, match=r"; (copy the whole bundle again|name the folder of a bundle)"):
        store.open(bundle.folder, verify="full")


@pytest.mark.parametrize("sums", [b"", b"nonsense\n", b"\xff\xfe", b"00  model.onnx\n"])
def test_broken_sums_are_found(bundle: Bundle, sums: bytes) -> None:
    (bundle.folder / "SHA256SUMS").write_bytes(sums)
    for verify in ("manifest", "full"):
        with pytest.raises(BundleError, match="; copy the whole bundle again"):
            store.open(bundle.folder, verify=verify)


def test_a_gateway_reads_the_manifest_and_needs_no_graph(bundle: Bundle) -> None:
    bundle.graph.unlink()
    (bundle.folder / "golden.npz").unlink()
    assert store.open(bundle.folder, verify="manifest").manifest == bundle.manifest


def test_a_manifest_of_another_graph_is_found(bundle: Bundle) -> None:
    path = bundle.folder / "manifest.json"
    path.write_text(path.read_text().replace(bundle.manifest.graph_digest, "sha256:" + "0" * 64))
    with pytest.raises(BundleError, match="name different graphs; export the bundle again"):
        reseal(bundle)


def test_golden_samples_that_the_graph_does_not_give_are_found(bundle: Bundle) -> None:
    other = regolden(bundle, probability=bundle.golden().probability[::-1])
    with pytest.raises(
        BundleError, match=r"golden image 0 differs by 0\.\d+ on cpu.*; this machine does not run the model"
    ):
        store.open(other.folder, verify="full")


def test_a_typicality_that_the_graph_does_not_give_is_found(bundle: Bundle) -> None:
    """The floor is as much a part of the certificate as the scores."""
    other = regolden(bundle, typicality=np.zeros(3, np.float32))
    with pytest.raises(BundleError, match=r"golden image 0 differs by 0\.\d+ on cpu, its typicality by 1\.0000"):
        store.open(other.folder, verify="full")


@pytest.mark.parametrize(
    "changes",
    [
        {"probability": None},
        {"probability": np.zeros((3, 2), np.float32)},
        {"probability": np.zeros((2, 3), np.float32)},
        {"typicality": np.zeros(2, np.float32)},
        {"encoded_sizes": np.array([1, 2], np.int64)},
        {"encoded_sizes": np.array([10**9, 1, 1], np.int64)},
        {"encoded_sizes": np.array([-5, 1, 1], np.int64)},
        {"image": np.zeros((3, 4, 4, 3), np.uint8)},
        {"embedding": np.zeros((3, 9), np.float32)},
    ],
    ids=",".join,
)
def test_golden_samples_of_the_wrong_shape_are_found(bundle: Bundle, changes: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"golden.npz .*export the bundle again"):
        regolden(bundle, **changes).golden()


def test_golden_samples_must_be_some(bundle: Bundle) -> None:
    """None of them would make every machine pass."""
    none = {name: np.load(bundle.folder / "golden.npz")[name][:0] for name in ("image", "probability", "typicality")}
    other = regolden(
        bundle, **none, embedding=np.zeros((0, 3), np.float32), encoded=np.zeros(0, np.uint8),
        encoded_sizes=np.zeros(0, np.int64),
    )  # fmt: skip
    with pytest.raises(BundleError, match="no golden sample; export the bundle again"):
        other.golden()


@pytest.mark.parametrize("content", [b"", b"PK\3\4rubbish", b"rubbish"])
def test_golden_samples_that_are_no_archive_are_found(bundle: Bundle, content: bytes) -> None:
    (bundle.folder / "golden.npz").write_bytes(content)
    with pytest.raises(BundleError, match=r"cannot be read .*; export the bundle again"):
        bundle.golden()


def test_golden_samples_run_no_code(bundle: Bundle, tmp_path: Path) -> None:
    """numpy would unpickle objects; a bundle may come from a stranger."""
    np.savez(bundle.folder / "golden.npz", encoded=np.array([print, None], object))
    with pytest.raises(BundleError, match="cannot be read"):
        bundle.golden()


def test_find_names_what_there_is(tmp_path: Path, bundle: Bundle) -> None:
    assert store.find(tmp_path, "colours/1") == bundle
    (tmp_path / "models" / "colours" / ".2.77.partial").mkdir()
    (tmp_path / "models" / "colours" / ".2.77.partial" / "manifest.json").write_text("{}")
    with pytest.raises(BundleError, match=r"no model 'colours/7' in .*; there is colours/1$"):
        store.find(tmp_path, "colours/7")
    with pytest.raises(BundleError, match="there is none: train one first"):
        store.find(tmp_path / "elsewhere", "colours/1")


@pytest.mark.parametrize(
    "model", ["../1", "colours/../colours/1", "", "colours", "/etc", "colours/1/", ".", "colours/.2"]
)
def test_a_name_that_is_none_never_becomes_a_path(tmp_path: Path, bundle: Bundle, model: str) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "manifest.json").write_text("{}")
    with pytest.raises(BundleError, match="no model"):
        store.find(tmp_path, model)


def test_a_bundle_under_another_name_is_found(tmp_path: Path, bundle: Bundle) -> None:
    bundle.folder.rename(bundle.folder.parent / "2")
    with pytest.raises(BundleError, match=r"holds colours/1; .*"):
        store.find(tmp_path, "colours/2")


# --- what a graph may hold --------------------------------------------------------------------------------------------

FOREIGN = helper.make_node("FusedGemm", ["x"], ["y"], domain="com.microsoft")
PLAIN = helper.make_node("Identity", ["x"], ["y"])


def outside(name: str = "w") -> TensorProto:
    """A tensor whose values lie in another file, here a secret of the machine's."""
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    return tensor


def body(*nodes: onnx.NodeProto, weights: tuple[TensorProto, ...] = ()) -> onnx.GraphProto:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return helper.make_graph(list(nodes) or [PLAIN], "body", [], [value], list(weights))


def model(
    *nodes: onnx.NodeProto, weights: tuple[TensorProto, ...] = (), imports: tuple[str, ...] = ("",)
) -> onnx.ModelProto:
    return helper.make_model(
        body(*nodes, weights=weights), opset_imports=[helper.make_opsetid(domain, 18) for domain in imports]
    )


def branch(then: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=body())


def loop(inside: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("Loop", ["m", "c"], ["y"], body=inside)


def function(node: onnx.NodeProto, domain: str = "ours") -> onnx.ModelProto:
    made = model(helper.make_node("Act", ["x"], ["y"], domain=domain), imports=("", domain))
    made.functions.append(helper.make_function(domain, "Act", ["x"], ["y"], [node], [helper.make_opsetid("", 18)]))
    return made


def sparse() -> onnx.ModelProto:
    made = model()
    made.graph.sparse_initializer.append(
        helper.make_sparse_tensor(outside(), numpy_helper.from_array(np.zeros(2, np.int64), "i"), [4])
    )
    return made


def training_info() -> onnx.ModelProto:
    made = model()
    made.training_info.add().algorithm.CopyFrom(body(FOREIGN))
    return made


def attribute_default() -> onnx.ModelProto:
    made = function(PLAIN)
    made.functions[0].attribute_proto.append(helper.make_attribute("w", outside()))
    return made


UNSAFE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "a foreign operator": (lambda: model(FOREIGN), "com.microsoft"),
    "a foreign import": (lambda: model(imports=("", "com.microsoft")), "com.microsoft"),
    "a foreign operator in a branch": (lambda: model(branch(body(FOREIGN))), "com.microsoft"),
    "a foreign operator in a loop": (lambda: model(loop(body(FOREIGN))), "com.microsoft"),
    "a foreign operator two levels down": (lambda: model(loop(body(branch(body(FOREIGN))))), "com.microsoft"),
    "a foreign operator in a function": (lambda: function(FOREIGN), "com.microsoft"),
    "a foreign operator in a function's branch": (lambda: function(branch(body(FOREIGN))), "com.microsoft"),
    "a foreign operator that borrows a function's domain": (
        lambda: function(helper.make_node("Other", ["x"], ["y"], domain="ours")), "ours"
    ),
    "a foreign operator in training": (training_info, "com.microsoft"),
    "outside weights": (lambda: model(weights=(outside(),)), "external_data=False"),
    "an outside constant": (lambda: model(helper.make_node("Constant", [], ["y"], value=outside())), "external_data=False"),
    "outside weights in a branch": (lambda: model(branch(body(weights=(outside(),)))), "external_data=False"),
    "an outside constant in a function": (
        lambda: function(helper.make_node("Constant", [], ["y"], value=outside())), "external_data=False"
    ),
    "outside weights, sparse": (sparse, "external_data=False"),
    "an outside default of a function": (attribute_default, "external_data=False"),
    "outside tensors in a list": (lambda: model(helper.make_node("Odd", [], ["y"], many=[outside()])), "external_data=False"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNSAFE)
def test_an_unsafe_graph_is_refused_wherever_it_hides_it(what: str) -> None:
    made, says = UNSAFE[what]
    with pytest.raises(BundleError, match="; export it with ") as caught:
        store.check_graph(made().SerializeToString())
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "made",
    [model(), model(branch(body())), model(loop(body(branch(body())))), function(PLAIN), function(branch(body()))],
)
def test_branches_loops_and_functions_of_the_standard_are_fine(made: onnx.ModelProto) -> None:
    store.check_graph(made.SerializeToString())


def test_an_unsafe_graph_is_neither_written_nor_opened(tmp_path: Path, bundle: Bundle) -> None:
    unsafe = UNSAFE["a foreign operator in a branch"][0]().SerializeToString()
    with pytest.raises(BundleError, match=r"com\.microsoft"):
        store.write(tmp_path / "models" / "colours" / "2", unsafe, bundle.manifest, bundle.golden())
    with pytest.raises(BundleError, match=r"com\.microsoft"):
        store.open(regraph(bundle, unsafe).folder, verify="full")


def test_golden_from_keeps_the_order_of_the_outputs() -> None:
    outputs = [np.zeros((1, 2), np.float32), np.ones(1, np.float32), np.full((1, 3), 2, np.float32)]
    golden: Golden = store.golden_from([b"x"], np.zeros((1, 1, 1, 3), np.uint8), outputs)
    assert (golden.encoded, golden.probability.shape, golden.embedding.shape) == ((b"x",), (1, 2), (1, 3))


def test_a_broken_manifest_is_a_document_error(bundle: Bundle) -> None:
    (bundle.folder / "manifest.json").write_text("{}")
    with pytest.raises(DocumentError, match=r"schema_version|is missing; add it"):
        store.open(bundle.folder)
