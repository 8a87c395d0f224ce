"""A real bundle whose graph fails at run time on blue images: an index beyond its table."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_store import bundle as bundles
from model_store.bundle import Bundle, Golden
from tests.bundles import graph, make


def make_fragile(data: Path) -> Bundle:
    """Writes `<data>/models/fragile/1`; its golden samples are the red and the green image of `tests.bundles`."""
    model = onnx.load_model_from_string(graph())
    inner = model.graph
    (typicality,) = [node for node in inner.node if "typicality" in node.output]
    typicality.output[0] = "ones"
    constants: dict[str, npt.NDArray[Any]] = {
        "third": np.array([2], np.int64),
        "half": np.array(0.5, np.float32),
        "table": np.array([0.0], np.float32),
        "last": np.array([1], np.int64),
    }
    inner.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    inner.node.extend(
        [
            helper.make_node("Gather", ["probability", "third"], ["blue"], axis=1),
            helper.make_node("Greater", ["blue", "half"], ["is_blue"]),
            helper.make_node("Cast", ["is_blue"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["looked_up"]),
            helper.make_node("Squeeze", ["looked_up", "last"], ["zero_each"]),
            helper.make_node("Add", ["ones", "zero_each"], ["typicality"]),
        ]
    )
    onnx.checker.check_model(model)
    encoded = model.SerializeToString()
    colours = make(data / "colours")
    golden = colours.golden()
    kept = Golden(
        golden.encoded[:2], golden.image[:2], golden.probability[:2], golden.typicality[:2], golden.embedding[:2]
    )
    digest = "sha256:" + hashlib.sha256(encoded).hexdigest()
    manifest = colours.manifest.model_copy(update={"name": "fragile", "graph_digest": digest})
    return bundles.write(data / "models" / "fragile" / "1", encoded, manifest, kept)
