"""Reports lie beside the bundle, outside its digest: `<data>/models/<name>/<version>.report/<what>.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model_store.bundle import Bundle


def write(bundle: Bundle, what: str, values: dict[str, Any]) -> Path:
    """Writes one report, over an older one of the same name."""
    folder = bundle.folder.with_name(bundle.folder.name + ".report")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{what}.json"
    path.write_text(json.dumps(values, indent=1, default=str) + "\n")
    return path
