"""A bundle: one immutable folder `<data>/models/<name>/<version>/` that holds everything a model is.

model.onnx     weights inside, no external data, standard operator domains only
manifest.json  what the graph takes and gives
golden.npz     encoded bytes, input tensors and outputs of a few real images
SHA256SUMS     of the three; the bundle digest is the SHA-256 of this file
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from model_store import manifest as manifests
from model_store.errors import BundleError
from model_store.manifest import Manifest

FILES = ("golden.npz", "manifest.json", "model.onnx")
STANDARD_DOMAINS = frozenset({"", "ai.onnx"})


@dataclass(frozen=True)
class Golden:
    """A few real images with what the graph took and gave for them, on the CPU provider."""

    encoded: tuple[bytes, ...]
    image: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    """`[n, H, W, 3]` as preprocess made it."""
    probability: npt.NDArray[np.float32]
    """`[n, C]`"""
    typicality: npt.NDArray[np.float32]
    """`[n]`"""
    embedding: npt.NDArray[np.float32]
    """`[n, D]`"""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: where it lies, its manifest and its digest."""

    folder: Path
    manifest: Manifest
    digest: str

    @property
    def graph(self) -> Path:
        return self.folder / "model.onnx"

    def golden(self) -> Golden:
        """The golden samples. Raises BundleError when the file is not readable as such."""
        try:
            with np.load(self.folder / "golden.npz", allow_pickle=False) as stored:
                ends = np.cumsum(stored["encoded_sizes"])
                blob = stored["encoded"].tobytes()
                encoded = tuple(blob[end - size : end] for end, size in zip(ends, stored["encoded_sizes"], strict=True))
                return Golden(
                    encoded, stored["image"], stored["probability"], stored["typicality"], stored["embedding"]
                )
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise BundleError(f"{self.folder}/golden.npz cannot be read ({error}); export the bundle again") from None


def file_digest(path: Path) -> str:
    """`sha256:<hex>` of a file's bytes."""
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def write(folder: Path, graph: bytes, manifest: Manifest, golden: Golden) -> Bundle:
    """Writes a bundle into a folder that must not exist yet; it appears whole or not at all.

    Raises BundleError when the folder exists, the graph is unsafe, or the manifest names another graph.
    """
    if folder.exists():
        raise BundleError(f"{folder} exists and bundles never change; choose the next version")
    check_graph(graph)
    if manifest.graph_digest != "sha256:" + hashlib.sha256(graph).hexdigest():
        raise BundleError("the manifest's graph_digest is not that of the graph; compute it from the final bytes")
    files = {
        "golden.npz": _pack(golden),
        "manifest.json": manifest.model_dump_json(indent=2).encode(),
        "model.onnx": graph,
    }
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in FILES)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.parent / f".{folder.name}.{os.getpid()}.partial"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    for name, content in {**files, "SHA256SUMS": sums.encode()}.items():
        (staging / name).write_bytes(content)
    staging.rename(folder)
    return open(folder, verify="manifest")


def open(folder: Path, verify: Literal["manifest", "full"] = "manifest") -> Bundle:
    """Opens a bundle.

    `manifest` checks the manifest against SHA256SUMS (a gateway needs no more); `full` checks every file, the
    graph's safety and the golden samples on the CPU provider. Raises BundleError or DocumentError.
    """
    manifest = manifests.read(folder / "manifest.json")
    try:
        listed = (folder / "SHA256SUMS").read_bytes()
        sums = {line.split("  ")[1]: line.split("  ")[0] for line in listed.decode().splitlines()}
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise BundleError(f"{folder}/SHA256SUMS cannot be read ({error}); copy the whole bundle again") from None
    bundle = Bundle(folder, manifest, "sha256:" + hashlib.sha256(listed).hexdigest())
    for name in FILES if verify == "full" else ("manifest.json",):
        path = folder / name
        if not path.is_file() or file_digest(path) != f"sha256:{sums.get(name)}":
            raise BundleError(f"{path} is not the file that SHA256SUMS names; copy the whole bundle again")
    if f"sha256:{sums.get('model.onnx')}" != manifest.graph_digest:
        raise BundleError(f"{folder}: manifest.json and SHA256SUMS name different graphs; export the bundle again")
    if verify == "full":
        from model_store.engine import Engine

        check_graph(bundle.graph.read_bytes())
        Engine.open(bundle).check_golden()
    return bundle


def find(data: Path, model: str) -> Bundle:
    """The bundle `name/version` of a data folder, manifest verified. Raises BundleError naming the others."""
    folder = data / "models" / model
    if not (folder / "manifest.json").is_file():
        there = sorted(
            f"{path.parent.parent.name}/{path.parent.name}" for path in data.glob("models/*/*/manifest.json")
        )
        raise BundleError(
            f"no model {model!r} in {data}/models; there is {', '.join(there) or 'none: train one first'}"
        )
    return open(folder)


def check_graph(graph: bytes) -> None:
    """Raises BundleError for a graph that reads other files or needs operators outside the ONNX standard."""
    import onnx

    try:
        model = onnx.load_model_from_string(graph)
    except Exception as error:
        raise BundleError(f"the graph is not ONNX ({type(error).__name__}); export it again") from None
    domains = {entry.domain for entry in model.opset_import} | {node.domain for node in model.graph.node}
    if model.functions:
        domains |= {node.domain for function in model.functions for node in function.node}
    foreign = sorted(domains - STANDARD_DOMAINS - {function.domain for function in model.functions})
    if foreign:
        raise BundleError(f"the graph uses operators of {foreign[0]!r}; export it with the ONNX standard domain only")
    tensors = list(model.graph.initializer)
    tensors += [attribute.t for node in model.graph.node for attribute in node.attribute if attribute.HasField("t")]
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
        raise BundleError("the graph keeps weights in other files; export it with external_data=False")


def _pack(golden: Golden) -> bytes:
    buffer = io.BytesIO()
    np.savez(
        buffer,
        encoded=np.frombuffer(b"".join(golden.encoded), np.uint8),
        encoded_sizes=np.array([len(item) for item in golden.encoded], np.int64),
        image=golden.image,
        probability=golden.probability,
        typicality=golden.typicality,
        embedding=golden.embedding,
    )
    return buffer.getvalue()


def golden_from(
    encoded: Sequence[bytes], image: npt.NDArray[np.uint8], outputs: Sequence[npt.NDArray[np.float32]]
) -> Golden:
    """Golden samples from the graph's three outputs (probability, typicality, embedding)."""
    probability, typicality, embedding = outputs
    return Golden(tuple(encoded), image, probability, typicality, embedding)
