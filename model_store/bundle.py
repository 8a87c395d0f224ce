"""A bundle: one immutable folder `<data>/models/<name>/<version>/` that holds everything a model is.

model.onnx     weights inside, no external data, standard operator domains only
manifest.json  what the graph takes and gives
golden.npz     encoded bytes, input tensors and outputs of a few real images
SHA256SUMS     of the three; the bundle digest is the SHA-256 of this file
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model_store import manifest as manifests
from model_store.errors import BundleError
from model_store.manifest import Manifest

FILES = ("golden.npz", "manifest.json", "model.onnx")
STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
_MODEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}/[0-9]+(\.[0-9]+)*")


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
        path = self.folder / "golden.npz"
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                sizes = stored["encoded_sizes"].tolist()
                blob = stored["encoded"].tobytes()
                arrays = [stored[name] for name in ("image", "probability", "typicality", "embedding")]
        except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path} cannot be read ({error}); export the bundle again") from None
        if min(sizes, default=0) < 0 or sum(sizes) != len(blob):
            raise BundleError(f"{path} cannot be cut into its images; export the bundle again")
        ends = itertools.accumulate(sizes)
        golden = Golden(tuple(blob[end - size : end] for end, size in zip(ends, sizes, strict=True)), *arrays)
        check_golden_fits(golden, self.manifest, str(path))
        return golden


def file_digest(path: Path) -> str:
    """`sha256:<hex>` of a file's bytes."""
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def write(folder: Path, graph: bytes, manifest: Manifest, golden: Golden) -> Bundle:
    """Writes a bundle into a folder that must not exist yet; it appears whole or not at all.

    Raises BundleError when the folder exists, the graph is unsafe, or the manifest names another graph or other golden
    samples than those given.
    """
    if folder.exists():
        raise BundleError(f"{folder} exists and bundles never change; choose the next version")
    check_graph(graph)
    if manifest.graph_digest != "sha256:" + hashlib.sha256(graph).hexdigest():
        raise BundleError("the manifest's graph_digest is not that of the graph; compute it from the final bytes")
    check_golden_fits(golden, manifest, "the given golden.npz")
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
    try:
        for name, content in {**files, "SHA256SUMS": sums.encode()}.items():
            with (staging / name).open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())  # else a power cut could leave the folder there and its files empty
        staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
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
    # a name may come from a URL and must not become a path of its own
    if not _MODEL.fullmatch(model) or not (folder / "manifest.json").is_file():
        found = [path.parent for path in data.glob("models/*/*/manifest.json")]
        there = sorted(name for path in found if _MODEL.fullmatch(name := f"{path.parent.name}/{path.name}"))
        raise BundleError(
            f"no model {model!r} in {data}/models; there is {', '.join(there) or 'none: train one first'}"
        )
    bundle = open(folder)
    held = f"{bundle.manifest.name}/{bundle.manifest.version}"
    if held != model:
        raise BundleError(f"{folder} holds {held}; move it to {data}/models/{held}")
    return bundle


def check_golden_fits(golden: Golden, manifest: Manifest, source: str) -> None:
    """Raises BundleError unless there are golden samples and their arrays have the manifest's shapes."""
    count = len(golden.encoded)
    if count == 0:
        raise BundleError(f"{source} holds no golden sample; export the bundle again")
    spec = manifest.image
    wanted: dict[str, tuple[int, ...]] = {
        "image": (count, spec.height, spec.width, 3),
        "probability": (count, len(manifest.heads)),
        "typicality": (count,),
        "embedding": (count, manifest.embedding),
    }
    for name, shape in wanted.items():
        given = getattr(golden, name).shape
        if given != shape:
            raise BundleError(
                f"{source} holds {name} of shape {given} and the manifest says {shape}; export the bundle again"
            )


def check_graph(graph: bytes) -> None:
    """Raises BundleError for a graph that reads other files or needs operators outside the ONNX standard.

    Every part is looked at: bodies of branches and loops, functions, sparse tensors, whatever later versions nest.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(graph)
    except Exception as error:
        raise BundleError(f"the graph is not ONNX ({type(error).__name__}); export it again") from None
    own = {(function.domain, function.name) for function in model.functions}
    domains = STANDARD_DOMAINS | {domain for domain, _ in own}
    for part in _parts(model, onnx.TensorProto):
        if isinstance(part, onnx.TensorProto):
            if part.data_location == onnx.TensorProto.EXTERNAL or part.external_data:
                raise BundleError("the graph keeps weights in other files; export it with external_data=False")
        elif isinstance(part, onnx.NodeProto):
            if part.domain not in STANDARD_DOMAINS and (part.domain, part.op_type) not in own:
                raise _foreign(part.domain)
        elif isinstance(part, onnx.OperatorSetIdProto) and part.domain not in domains:
            raise _foreign(part.domain)


def _foreign(domain: str) -> BundleError:
    return BundleError(f"the graph uses operators of {domain!r}; export it with the ONNX standard domain only")


def _parts(root: Any, leaf: type[Any]) -> Iterator[Any]:
    """A protobuf message and all messages inside it, except inside leaves: reading those would copy their weights."""
    stack = [root]
    while stack:
        part = stack.pop()
        yield part
        if not isinstance(part, leaf):
            for field, value in part.ListFields():
                if field.message_type is not None:
                    stack.extend([value] if hasattr(value, "ListFields") else value)


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
