"""Keys for tests, put straight into a data folder's store."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triage.access.key_document import KeyDocument, digest, new_key
from triage.store.documents import LocalDocuments


@dataclass(frozen=True)
class Holder:
    prefix: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def holder(
    data: Path, *roles: str, projects: tuple[str, ...] = ("*",), sites: tuple[str, ...] = ("*",), **about: Any
) -> Holder:
    """A new key with these roles; its subject is the first of them unless `about` says otherwise."""
    prefix, key = new_key()
    grants = [{"role": role, "projects": projects, "sites": sites} for role in roles]
    fields = {"subject": roles[0], "grants": grants, "created_at": datetime.datetime.now(datetime.UTC), **about}
    document = KeyDocument.model_validate({"sha256": digest(key), **fields})
    LocalDocuments(data / "control").swap(f"keys/{prefix}.json", document.model_dump_json().encode(), None)
    return Holder(prefix, key)
