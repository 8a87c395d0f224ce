"""Bundle -> `.mar`: the bundle, the entry point and the model-config. Packages come from the image instead."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

from handlers import sigmoid_handler
from handlers.serving import Serving
from model_store.bundle import Bundle

ENTRY = "sigmoid_handler.py"
CONFIG = "model-config.yaml"
_FILES = ("SHA256SUMS", "golden.npz", "manifest.json", "model.onnx")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest a zip can hold: the same bundle gives the same bytes on any day


def write(bundle: Bundle, folder: Path, serving: Serving) -> Path:
    """Writes `<folder>/<name>-<version>.mar` and returns its path; the same inputs give the same bytes.

    Stored, not deflated: weights do not compress and workers wait for the unpacking. An archive of that name is
    replaced in one step, so a server that is starting reads the old one or the new one.
    """
    manifest = bundle.manifest
    described = {
        "createdOn": manifest.provenance.created_at.isoformat(),
        "runtime": "python",
        "model": {
            "modelName": manifest.name,
            "modelVersion": manifest.version,
            "handler": ENTRY,
            "configFile": CONFIG,
        },
        "archiverVersion": "1.0",
    }
    entries: dict[str, bytes | Path] = {
        "MAR-INF/MANIFEST.json": json.dumps(described, indent=2).encode(),
        CONFIG: serving.model_config_yaml().encode(),
        ENTRY: Path(sigmoid_handler.__file__),
        **{f"bundle/{name}": bundle.folder / name for name in _FILES},
    }
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{manifest.name}-{manifest.version}.mar"
    staging = folder / f".{target.name}.{os.getpid()}.partial"
    with zipfile.ZipFile(staging, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content if isinstance(content, bytes) else content.read_bytes())
    staging.replace(target)
    return target
