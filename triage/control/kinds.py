"""Every kind of control document, as one table: where it lies, what it says, who may change it.

Routes, `apply`, `diff` and the poll iterate it. The site and its standing are opened and checked by more than their model
(sites.py); every other kind is what its model says. Documents are shown and journaled: a secret is in none of them, only its
name or its digest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from triage.access.access_document import AccessDocument
from triage.access.key_document import KeyDocument
from triage.access.roles import Permission
from triage.control.gone_document import GoneDocument
from triage.control.hold_document import HoldDocument
from triage.control.retention_document import RetentionDocument
from triage.control.switch_document import SwitchDocument
from triage.control.webhook_document import WebhookDocument
from triage.promise.releases import CANARY
from triage.reviewing.gold_document import GoldDocument
from triage.reviewing.person_document import PersonDocument
from triage.reviewing.queue_document import QueueDocument

Model = TypeVar("Model", bound=BaseModel, covariant=True)

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
_WATCHED = NAME.removesuffix("$") + rf"({re.escape(CANARY)})?$"
"""Of projects, sites and most documents: it stands in paths, lease tokens and Redis keys."""
PERSON = r"^[a-z0-9][a-z0-9_.@+-]{0,127}$"
"""Of documents about people, who are often known by an address."""


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
    single: bool = False
    """There is one, which has no name of its own: `<folder>.json`."""
    names: str = NAME
    """What its documents may be called."""
    of_site: bool = False
    """Its documents are called as the sites that they are about."""
    routed: bool = True
    """False: it is read and changed through routes of its own, and not by `apply`."""

    def path(self, project: str | None, name: str = "") -> str:
        """The document's name in the store."""
        within = f"projects/{project}/{self.folder}" if self.of_project else self.folder
        return f"{within}.json" if self.single else f"{within}/{name}.json"


KINDS: dict[str, Kind[Any]] = {
    kind.name: kind
    for kind in (
        Kind("switch", "switch", SwitchDocument, "sites.read", "suspend", of_project=False, single=True),
        Kind("key", "keys", KeyDocument, "keys", "keys", of_project=False, names=r"^[a-z2-7]{8}$", routed=False),
        Kind("access", "access", AccessDocument, "keys", "keys", of_project=False, single=True),
        Kind("queue", "queues", QueueDocument, "queues.read", "queues.manage"),
        Kind("person", "people", PersonDocument, "people.manage", "people.manage", names=PERSON),
        Kind("gold", "golds", GoldDocument, "queues.manage", "queues.manage"),
        Kind("hold", "holds", HoldDocument, "log.read", "purge"),
        Kind("retention", "retention", RetentionDocument, "sites.read", "sites.manage", of_site=True),
        Kind("webhook", "webhooks", WebhookDocument, "sites.read", "sites.manage"),
        Kind("webhook_gone", "webhooks-gone", GoneDocument, "sites.read", "sites.manage", routed=False),
        Kind("project_switch", "switch", SwitchDocument, "sites.read", "suspend", single=True),
    )
}


class Place(NamedTuple):
    """Which document a name in the store is of. `kind` is also `site` or `standing`; `project` is None of the service's."""

    kind: str
    project: str | None
    name: str


_FOLDERS: dict[tuple[bool, bool, str], str] = {
    (True, False, "sites"): "site",
    (True, False, "standing"): "standing",
    **{(kind.of_project, kind.single, kind.folder): kind.name for kind in KINDS.values()},
}
FOLDERS = frozenset(folder for of_project, _, folder in _FOLDERS if of_project)
"""What a project's folder holds."""


def place_of(path: str) -> Place | None:
    """The place of a document in the store; None for a name that is of no kind."""
    parts = path.removesuffix(".json").split("/")
    of_project = parts[0] == "projects"
    project = parts[1] if of_project and len(parts) > 2 else None
    rest = parts[2:] if of_project else parts
    if of_project and project is None:
        return None
    match rest:
        case [folder, name] if kind := _FOLDERS.get((of_project, False, folder)):
            return Place(kind, project, name)
        case [folder] if kind := _FOLDERS.get((of_project, True, folder)):
            return Place(kind, project, "")
    return None


def misnamed(place: Place) -> bool:
    """Whether a project or a document has a name that none can have."""
    names = KINDS[place.kind].names if place.kind in KINDS else _WATCHED if place.kind == "standing" else NAME
    single = place.kind in KINDS and KINDS[place.kind].single
    return bool(place.project is not None and not re.fullmatch(NAME, place.project)) or not (
        single or re.fullmatch(names, place.name)
    )


def shown(model: BaseModel) -> dict[str, Any]:
    """A document as it is told, for JSON: only what is not the default."""
    told: dict[str, Any] = model.model_dump(mode="json", exclude_defaults=True)
    return told


def text_of(model: BaseModel) -> bytes:
    """The same as it is stored."""
    return model.model_dump_json(indent=1, exclude_defaults=True).encode()
