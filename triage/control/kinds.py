"""Every kind of control document, as one table: where it lies, what it says, who may change it.

Routes, `apply`, `diff` and the poll iterate it. The site and its standing are opened and checked by more than their model
(sites.py); every other kind is what its model says.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from model_store.errors import DocumentError
from triage.access.access_document import AccessDocument
from triage.access.key_document import KeyDocument
from triage.access.roles import Permission
from triage.control.switch_document import SwitchDocument
from triage.control.webhook_document import WebhookDocument
from triage.reviewing.person_document import PersonDocument
from triage.reviewing.queue_document import QueueDocument

Model = TypeVar("Model", bound=BaseModel, covariant=True)

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
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
    hidden: tuple[str, ...] = ()
    """Fields of its model that are told to nobody, as secrets are: replies and journal hold a short digest in their place."""
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
        Kind("webhook", "webhooks", WebhookDocument, "sites.read", "sites.manage"),
        Kind("project_switch", "switch", SwitchDocument, "sites.read", "suspend", single=True),
    )
}


class Place(NamedTuple):
    """Which document a name in the store is of. `kind` is also `site` or `standing`; `project` is None of the service's."""

    kind: str
    project: str | None
    name: str


_HIDDEN = re.compile(r"hidden:[0-9a-f]{12}")
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
    names = KINDS[place.kind].names if place.kind in KINDS else NAME
    single = place.kind in KINDS and KINDS[place.kind].single
    return bool(place.project is not None and not re.fullmatch(NAME, place.project)) or not (
        single or re.fullmatch(names, place.name)
    )


def shown(kind: Kind[Any], model: BaseModel) -> dict[str, Any]:
    """A document as it may be told, for JSON. A hidden field reads `hidden:<12 hexadecimal digits>`, so that whoever knows the
    secret can tell whether it is this one."""
    told: dict[str, Any] = model.model_dump(mode="json", exclude_defaults=True)
    for field in kind.hidden:
        if told.get(field) is not None:
            told[field] = hidden(str(told[field]))
    return told


def hidden(secret: str) -> str:
    return secret if _HIDDEN.fullmatch(secret) else f"hidden:{hashlib.sha256(secret.encode()).hexdigest()[:12]}"


def shown_text(kind: Kind[Any], model: BaseModel) -> str:
    """The same as text. Without hidden fields it is what stands in the store, byte for byte."""
    return json.dumps(shown(kind, model), indent=1) if kind.hidden else text_of(model).decode()


def revealed(kind: Kind[Any], given: BaseModel, stands: BaseModel | None) -> BaseModel:
    """A document that was read, changed and sent back: what was hidden in it is what it stood for.

    Raises DocumentError where it stood for something else.
    """
    known = {}
    for field in kind.hidden:
        value, before = getattr(given, field), getattr(stands, field, None)
        if isinstance(value, str) and _HIDDEN.fullmatch(value):
            if not isinstance(before, str) or hidden(before) != value:
                raise DocumentError(
                    f"{kind.name}: {field} = {value}: this stands for another secret; send the secret itself"
                )
            known[field] = before
    return given.model_copy(update=known)


def text_of(model: BaseModel) -> bytes:
    """A document as it is stored: only what is not the default."""
    return model.model_dump_json(indent=1, exclude_defaults=True).encode()
