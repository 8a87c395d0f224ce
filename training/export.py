"""A trained network -> a bundle: the whole way from integers to calibrated probabilities in one ONNX graph.

The graph is compared with torch on real images before anything is written; a bundle that exists is one that agreed.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor, nn

from model_store import bundle as bundles
from model_store import manifest as documents
from model_store.bundle import Bundle, Golden
from model_store.labels import LabelSchema
from model_store.manifest import Manifest, Provenance
from training.calibrate import Platt
from training.errors import ExportError
from training.images import LabelledImage
from training.model import Network
from training.recipe import Recipe
from training.tensors import Tensors
from training.typicality import Gate, describe

PARITY = 1e-4
"""Largest difference of a probability between torch and ONNX Runtime that is let through."""
TYPICALITY_PARITY = 0.02
"""The same for typicality: a rank, in which the last digit of a distance can move an image past a few neighbours."""
OUTPUTS = ("probability", "typicality", "embedding")


class Graph(nn.Module):
    """What a bundle's graph computes: `image` -> probability `[N, C]`, typicality `[N]`, embedding `[N, D]`."""

    slope: Tensor
    offset: Tensor

    def __init__(self, network: Network, platt: Platt, gate: Gate | None = None) -> None:
        super().__init__()
        self.network = network
        self.gate = gate
        self.register_buffer("slope", torch.from_numpy(platt.slope))
        self.register_buffer("offset", torch.from_numpy(platt.offset))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.gate is None:  # every image is typical until a gate says otherwise
            logits, embedding = self.network(image)
            typicality = torch.ones(image.shape[0], dtype=torch.float32)
        else:
            logits, embedding, stages = self.network.stages(image)
            typicality = self.gate(describe(stages, embedding))
        return torch.sigmoid(logits * self.slope + self.offset), typicality, embedding


def convert(graph: Graph, example: npt.NDArray[Any], opset: int) -> bytes:
    """The ONNX model, weights inside. `example` `[n, H, W, 3]`, n >= 2; the batch size stays free."""
    with _quiet():
        program = torch.onnx.export(
            graph,
            (torch.from_numpy(example),),
            dynamo=True,
            input_names=["image"],
            output_names=list(OUTPUTS),
            dynamic_shapes={"image": {0: torch.export.Dim("n")}},
            external_data=False,
            opset_version=opset,
            verbose=False,
        )
        assert program is not None  # None only for a report of a failed export, which raises
        encoded: bytes = program.model_proto.SerializeToString()
    return encoded


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own deprecations and logs its passes; neither is the user's to mend."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (DeprecationWarning, FutureWarning))
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def run(model: bytes, image: npt.NDArray[Any], threads: int = 1) -> list[npt.NDArray[np.float32]]:
    """The graph's three outputs for `[n, H, W, 3]` on the CPU provider."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    outputs: list[npt.NDArray[np.float32]] = session.run(list(OUTPUTS), {"image": image})
    return outputs


def check_parity(graph: Graph, model: bytes, image: npt.NDArray[Any]) -> float:
    """Largest difference of a probability between torch and ONNX Runtime, one by one and as a batch.

    Raises ExportError above PARITY, where typicality differs by more than TYPICALITY_PARITY, or when the graph does not
    keep its promises about shapes.
    """
    with torch.inference_mode():
        wanted = [output.numpy() for output in graph(torch.from_numpy(image))]
    batch = run(model, image)
    single = [np.concatenate(rows) for rows in zip(*(run(model, row[None]) for row in image), strict=True)]
    for name, torch_output, *onnx_outputs in zip(OUTPUTS, wanted, batch, single, strict=True):
        for output in onnx_outputs:
            if output.shape != torch_output.shape or output.dtype != np.float32:
                raise ExportError(f"the graph gives {name} as {output.dtype}{list(output.shape)}; report this backbone")
    worst, moved = (
        max(float(np.abs(output[index] - wanted[index]).max()) for output in (batch, single)) for index in (0, 1)
    )
    if not worst <= PARITY:
        raise ExportError(f"the exported graph differs from torch by {worst:.1e}; try another export.opset")
    if not moved <= TYPICALITY_PARITY:
        raise ExportError(f"the exported typicality differs from torch by {moved:.3f}; try another export.opset")
    return worst


def to_bundle(
    folder: Path,
    graph: Graph,
    recipe: Recipe,
    schema: LabelSchema,
    heads: Sequence[str],
    golden: tuple[Sequence[LabelledImage], Tensors],
    data_fingerprint: str,
    gate: documents.Gate | None = None,
) -> tuple[Bundle, float]:
    """Converts, checks and writes; returns the bundle and the measured parity. Raises ExportError, BundleError."""
    graph.eval().cpu()
    samples, tensors = golden
    example = np.repeat(tensors.image[:1], 2, axis=0)
    model = convert(graph, example, recipe.export.opset)
    parity = check_parity(graph, model, tensors.image)
    probability, typicality, embedding = run(model, tensors.image)
    manifest = Manifest(
        name=recipe.name,
        version=recipe.version,
        labels=schema,
        heads=tuple(heads),
        image=recipe.image,
        embedding=embedding.shape[1],
        graph_digest="sha256:" + hashlib.sha256(model).hexdigest(),
        opset=recipe.export.opset,
        provenance=Provenance(
            created_at=datetime.datetime.now(datetime.UTC),
            code_version=code_version(),
            data_fingerprint=data_fingerprint,
            recipe=recipe.to_dict(),
            seed=recipe.seed,
        ),
        gate=gate,
    )
    encoded = tuple(sample.encoded() for sample in samples)
    stored = Golden(encoded, tensors.image, probability, typicality, embedding)
    return bundles.write(folder, model, manifest, stored), parity


def code_version() -> str:
    """The installed distribution's version, or `source` where the code runs uninstalled."""
    try:
        return version("secondreader")
    except PackageNotFoundError:
        return "source"
