"""Reports lie beside the bundle, outside its digest: `<data>/models/<name>/<version>.report/<what>.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model_store.bundle import Bundle
from model_store.errors import DocumentError
from model_store.rules import Rules


def folder(bundle: Bundle) -> Path:
    """Where a bundle's reports lie; it may not exist yet."""
    return bundle.folder.with_name(bundle.folder.name + ".report")


def of_rules(what: str, rules: Rules) -> str:
    """The name of a report on rules: `certificate-...`, `test-...`."""
    return f"{what}-{rules.digest.removeprefix('sha256:')[:12]}"


def write(bundle: Bundle, what: str, values: dict[str, Any]) -> Path:
    """Writes one report, over an older one of the same name."""
    path = folder(bundle) / f"{what}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1, default=str) + "\n", "utf-8")
    return path


def read(bundle: Bundle, what: str) -> dict[str, Any] | None:
    """A report that was written; None where there is none. Raises DocumentError when it is not readable as one."""
    path = folder(bundle) / f"{what}.json"
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DocumentError(f"{path} cannot be read ({error}); remove it, or write it again") from None
    if not isinstance(values, dict):
        raise DocumentError(f"{path} is no report; remove it, or write it again")
    return values
