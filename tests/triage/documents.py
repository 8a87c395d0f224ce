"""Control documents in a test's data folder, as an operator would write them."""

from __future__ import annotations

import json
from typing import Any

from tests.triage.gateway_parts import Wired


def write(gateway: Wired, folder: str, name: str, project: str = "default", **document: Any) -> None:
    """Puts a document in force, such as `write(gateway, "queues", "rare", sla_s=60)`."""
    path = gateway.data.folder / "control" / "projects" / project / folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    _poll(gateway)


def remove(gateway: Wired, folder: str, name: str, project: str = "default") -> None:
    (gateway.data.folder / "control" / "projects" / project / folder / f"{name}.json").unlink()
    _poll(gateway)


def _poll(gateway: Wired) -> None:
    gateway.control.poll()
    assert not gateway.control.problems, gateway.control.problems
