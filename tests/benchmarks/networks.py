"""The network and the images that the benchmarks share: EfficientNet-Lite0 at 224, 640x480 JPEGs.

Weights are random: speed does not depend on them. The bundle is made once and kept in `build/bench`.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from model_store import bundle as bundles
from model_store.bundle import Bundle
from model_store.decode import decode
from model_store.engine import OUTPUTS
from model_store.labels import Group, Label, LabelSchema
from model_store.manifest import ImageSpec, Manifest, Provenance
from model_store.preprocess import preprocess

ARCHITECTURE = "tf_efficientnet_lite0"
SIDE = 224
CLASSES = 10
WIDTH, HEIGHT, QUALITY = 640, 480, 90


def jpegs(count: int) -> list[bytes]:
    """Different images of about the size of a photograph of that many pixels: smooth shapes with some grain."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(np.int16)
        grain = rng.normal(0, 6, pixels.shape).astype(np.int16)
        stream = io.BytesIO()
        photograph = Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))
        photograph.save(stream, "JPEG", quality=QUALITY)
        made.append(stream.getvalue())
    return made


def bundle(data: Path) -> Bundle:
    """The benchmark's bundle in a data folder, made when it is not there."""
    folder = data / "models" / "lite0" / "1"
    return bundles.open(folder) if folder.exists() else _make(folder)


def _make(folder: Path) -> Bundle:
    import onnxruntime

    graph = _export()
    spec = ImageSpec(height=SIDE, width=SIDE)
    samples = tuple(jpegs(2))
    image = np.stack([preprocess(decode(sample, spec).pixels, spec) for sample in samples]).astype(np.uint8)
    outputs = onnxruntime.InferenceSession(graph).run(list(OUTPUTS), {"image": image})
    names = tuple(f"class{index}" for index in range(CLASSES))
    manifest = Manifest(
        name="lite0",
        version="1",
        labels=LabelSchema(labels=tuple(Label(id=name, name=name) for name in names), groups=(Group(),)),
        heads=names,
        image=spec,
        embedding=outputs[2].shape[1],
        graph_digest="sha256:" + hashlib.sha256(graph).hexdigest(),
        opset=18,
        provenance=Provenance(
            created_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
            code_version="bench",
            data_fingerprint="none",
        ),
    )
    return bundles.write(folder, graph, manifest, bundles.golden_from(samples, image, outputs))


def _export() -> bytes:
    import timm
    import torch
    from torch import Tensor, nn

    class Served(nn.Module):
        """The whole contract in one graph: uint8 pixels in, probability, typicality and embedding out."""

        def __init__(self) -> None:
            super().__init__()
            self.backbone = timm.create_model(ARCHITECTURE, num_classes=0)
            self.head = nn.LazyLinear(CLASSES)

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            embedding = self.backbone((image.float() / 127.5 - 1).permute(0, 3, 1, 2))
            return torch.sigmoid(self.head(embedding)), torch.ones_like(embedding[:, 0]), embedding

    torch.manual_seed(0)
    example = torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8)
    served = Served().eval()
    served(example)  # the lazy layer learns its width
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            served,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=1024)},),
            input_names=["image"],
            output_names=list(OUTPUTS),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())
