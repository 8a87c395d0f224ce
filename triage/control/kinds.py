"""Every kind of control document, as one table: where it lies, what it says, who may change it.

Routes, `apply`, `diff` and the poll iterate it. The site and its standing are opened and checked by more than their model
(sites.py); every other kind is what its model says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from triage.access.roles import Permission

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Kind(Generic[Model]):
    """`name` is its word in files and commands, `folder` its place: `projects/<project>/<folder>/<name>.json`."""

    name: str
    folder: str
    model: type[Model]
    read: Permission
    write: Permission
    of_project: bool = True
    """False: of the whole service, under `<folder>/<name>.json`."""

    def path(self, project: str, name: str) -> str:
        """The document's name in the store."""
        return f"projects/{project}/{self.folder}/{name}.json" if self.of_project else f"{self.folder}/{name}.json"


KINDS: dict[str, Kind[BaseModel]] = {}
