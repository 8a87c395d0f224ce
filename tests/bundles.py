"""A tiny real bundle, made in milliseconds without torch: mean colour -> three sigmoids.

The graph's probabilities are sigmoid(20 * (mean of channel k / 255 - 0.5)): a red image fires `red`, a green one `green`.
`blue` has a head but no certificate; `other` has no head.
"""

from __future__ import annotations

import datetime
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from model_store import bundle as bundles
from model_store import keys, signing
from model_store import rules as rule_files
from model_store.bundle import Bundle, Golden
from model_store.certificates import AbsenceCertificate, Certificate, rule_hash
from model_store.decode import decode
from model_store.labels import Group, Label, LabelSchema
from model_store.manifest import ImageSpec, Manifest, Provenance
from model_store.preprocess import preprocess
from model_store.rules import ClassRule, Rules

COLOURS = {
    "red": (230, 30, 30),
    "green": (30, 230, 30),
    "blue": (30, 30, 230),
    "grey": (120, 120, 120),
    "black": (10, 10, 10),
}
WHEN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
UNTIL = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
"""When the certificates made here end: no test is that slow."""


def picture(colour: str = "red", size: tuple[int, int] = (32, 24), format: str = "PNG", salt: int = 0) -> bytes:
    """Encoded bytes of a plain image; `salt` makes the bytes differ and the decision not."""
    pixels = np.full((size[1], size[0], 3), COLOURS[colour], np.uint8)
    for index in range(4):
        pixels[0, index % size[0], 0] ^= (salt >> (4 * index)) & 15
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format)
    return stream.getvalue()


def graph(height: int = 16, width: int = 16) -> bytes:
    """An ONNX model with the contract's input and outputs."""
    constants: dict[str, np.ndarray[Any, np.dtype[Any]]] = {
        "scale": np.array(20 / 255, np.float32),
        "shift": np.array(-10, np.float32),
        "axes": np.array([1, 2], np.int64),
        "one": np.array([1], np.int64),
        "zero": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["embedding"]),
        helper.make_node("Sigmoid", ["embedding"], ["probability"]),
        helper.make_node("Shape", ["image"], ["rows"], start=0, end=1),
        helper.make_node(
            "ConstantOfShape", ["rows"], ["typicality"], value=numpy_helper.from_array(np.array([1], np.float32))
        ),
    ]
    made = helper.make_graph(
        nodes,
        "mean_colour",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", height, width, 3])],
        [
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("typicality", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 3]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def schema() -> LabelSchema:
    names = ("red", "green", "blue", "other")
    return LabelSchema(labels=tuple(Label(id=name, name=name.title()) for name in names), groups=(Group(),))


def make(data: Path, name: str = "colours", version: str = "1", labels: LabelSchema | None = None) -> Bundle:
    """Writes the bundle to `<data>/models/<name>/<version>`; `labels` has red, green and blue at least."""
    encoded = graph()
    spec = ImageSpec(height=16, width=16)
    samples = tuple(picture(colour) for colour in ("red", "green", "blue"))
    image: np.ndarray[Any, np.dtype[np.uint8]] = np.stack(
        [preprocess(decode(sample, spec).pixels, spec) for sample in samples]
    )
    logits = (image.astype(np.float32).mean(axis=(1, 2)) * np.float32(20 / 255) - 10).astype(np.float32)
    probability = (1 / (1 + np.exp(-logits))).astype(np.float32)
    manifest = Manifest(
        name=name,
        version=version,
        labels=labels or schema(),
        heads=("red", "green", "blue"),
        image=spec,
        embedding=3,
        graph_digest="sha256:" + hashlib.sha256(encoded).hexdigest(),
        opset=18,
        provenance=Provenance(created_at=WHEN, code_version="test", data_fingerprint="none"),
    )
    golden = Golden(samples, image, probability, np.ones(3, np.float32), logits)
    return bundles.write(data / "models" / name / version, encoded, manifest, golden)


def certificate(**changes: Any) -> Certificate:
    """A certificate that `sealed` can put into any rules: 200 firings with one error prove .95."""
    values: dict[str, Any] = {
        "target": 0.95, "delta": 0.1, "attempted": 2, "firings": 200, "errors": 1, "bound": 0.96, "images": 500,
        "sites": ("default",), "provider": "cpu", "precision": "fp32", "rule": "sha256:" + "0" * 64,
        "data_fingerprint": "none", "certified_at": WHEN, "valid_until": UNTIL,
    }  # fmt: skip
    return Certificate(**{**values, **changes})


def absence(**changes: Any) -> AbsenceCertificate:
    """A certificate of absence that `sealed` can put into any rules: 200 positives with one missed prove .05."""
    values: dict[str, Any] = {
        "target": 0.05, "delta": 0.1, "attempted": 2, "positives": 200, "missed": 1, "bound": 0.04, "images": 500,
        "prevalence": 0.4, "npv": 0.99, "sites": ("default",), "provider": "cpu", "precision": "fp32",
        "rule": "sha256:" + "0" * 64, "data_fingerprint": "none", "certified_at": WHEN, "valid_until": UNTIL,
    }  # fmt: skip
    return AbsenceCertificate(**{**values, **changes})


def sealed(rules: Rules | None = None, **fields: Any) -> Rules:
    """Rules of these fields, every certificate in them made out for exactly these rules.

    To change rules: `sealed(rules, sites=("ward-3",))`.
    """
    if rules is not None:
        fields = {name: getattr(rules, name) for name in Rules.model_fields} | fields
    rules = Rules.model_construct(**fields)
    named = {"sites": rules.sites, "provider": rules.provider, "precision": rules.precision}
    classes = {}
    for label, rule in rules.classes.items():
        update: dict[str, Any] = {}
        for field, claim, at in (("certificate", "fires", rule.threshold), ("absence", "absent", rule.absent_below)):
            if getattr(rule, field) is not None and at is not None:
                made_out = {**named, "rule": rule_hash(rules.ground, claim, label, at)}  # type: ignore[arg-type]
                update[field] = getattr(rule, field).model_copy(update=made_out)
        classes[label] = rule.model_copy(update=update)
    return Rules(**{**fields, "classes": classes})


def signed(data: Path, rules: Rules) -> Rules:
    """Writes rules and their signature, by a key of the data folder that is made for it and that its gateways trust."""
    path = rule_files.write(data, rules)
    signing.write(path, signing.sign(rules, keys.signing_key(data)))
    return rules


def rules(bundle: Bundle, sites: tuple[str, ...] = ("default",), floor: float = 0.0) -> Rules:
    """Rules under which red and green answer above .9 and veto everything at .5."""
    automatic = ClassRule(state="automatic", threshold=0.9, veto=0.5, certificate=certificate())
    return sealed(
        bundle=bundle.digest,
        labels=bundle.manifest.labels.digest,
        sites=sites,
        provider="cpu",
        precision="fp32",
        typicality_floor=floor,
        classes={
            "red": automatic,
            "green": automatic,
            "blue": ClassRule(state="assist", veto=0.5, lacks="59 more correct firings"),
            "other": ClassRule(state="human", lacks="training images"),
        },
    )
