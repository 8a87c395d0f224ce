"""Control documents as people keep them in files: YAML or JSON, several a file, each with `kind`, `project`, `name`, `spec`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from model_store.errors import DocumentError, document_error
from triage.control.kinds import KINDS, NAME, Kind, shown
from triage.control.site_document import SiteDocument
from triage.reviewing.queue_document import QueueDocument

SITE = Kind("site", "sites", SiteDocument, "sites.read", "sites.manage")
KNOWN: dict[str, Kind[Any]] = {"site": SITE, **{name: kind for name, kind in KINDS.items() if kind.routed}}
"""What files may declare."""
_ENDINGS = (".yaml", ".yml", ".json")


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    project: str | None = None
    name: str = ""
    spec: dict[str, Any]


@dataclass(frozen=True)
class Declared:
    """A document of a file, checked. `where` says which file and which of its documents."""

    kind: Kind[Any]
    project: str | None
    name: str
    model: BaseModel
    where: str

    @property
    def told(self) -> str:
        """`queue default/review`."""
        return " ".join(filter(None, (self.kind.name, "/".join(filter(None, (self.project, self.name))))))

    @property
    def path(self) -> str:
        """Of its route."""
        return "/v1/" + self.kind.path(self.project, self.name).removesuffix(".json")

    def shown(self) -> dict[str, Any]:
        return shown(self.model)

    def as_shown(self, served: dict[str, Any]) -> dict[str, Any]:
        """What a service told of the same document, in the same form. Raises DocumentError for what nobody here reads."""
        try:
            return shown(self.kind.model.model_validate_json(json.dumps(served)))
        except ValidationError as error:
            raise document_error(f"{self.told} of the service, which may be newer than this program", error) from None


def read(places: Sequence[Path]) -> list[Declared]:
    """Every document of files and folders, in the order given, folders by name, but each queue after the one that it escalates
    to. Raises DocumentError, one sentence."""
    found: dict[str, Declared] = {}
    for path in (file for place in places for file in _files(place)):
        for each in _documents(path):
            if each.told in found:
                raise DocumentError(f"{each.where}: {each.told} stands in {found[each.told].where} already; remove one")
            found[each.told] = each
    return _adjudicators_first(found)


def _adjudicators_first(found: dict[str, Declared]) -> list[Declared]:
    """In the order given, but for queues that others escalate to: a service takes none that names what it does not know."""
    order: dict[str, Declared] = {}

    def put(each: Declared, behind: frozenset[str]) -> None:
        if each.told in order or each.told in behind:
            return
        named = each.model.escalate_to if isinstance(each.model, QueueDocument) else None
        if adjudicators := found.get(f"queue {each.project}/{named}"):
            put(adjudicators, behind | {each.told})
        order[each.told] = each

    for each in found.values():
        put(each, frozenset())
    return list(order.values())


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    inside = (path for path in sorted(place.rglob("*")) if path.suffix in _ENDINGS and path.is_file())
    files = [path for path in inside if not any(part.startswith(".") for part in path.relative_to(place).parts)]
    if not files:
        raise DocumentError(f"{place}: it holds no {' or '.join(_ENDINGS)} file; name another folder")
    return files


def _documents(path: Path) -> Iterator[Declared]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            given = json.loads(text)
            documents = given if isinstance(given, list) else [given]
        else:
            documents = [each for each in yaml.load_all(text, _Plain) if each is not None]
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}; name a file that can be read") from None
    except UnicodeDecodeError:
        raise DocumentError(f"{path}: it is not UTF-8 text; save it as UTF-8") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DocumentError(f"{path}: {' '.join(str(error).split())}; mend the file") from None
    for number, document in enumerate(documents, 1):
        yield _declared(f"{path}, document {number}" if len(documents) > 1 else str(path), document)


def _declared(where: str, document: Any) -> Declared:
    try:
        envelope = _Envelope.model_validate(document)
    except ValidationError as error:
        raise document_error(where, error) from None
    name = "project_switch" if envelope.kind == "switch" and envelope.project is not None else envelope.kind
    kind = KNOWN.get(name)
    if kind is None:
        raise DocumentError(
            f"{where}: kind = {envelope.kind!r}: there is {', '.join(sorted(KNOWN))}; name one of these"
        )
    project = (envelope.project or "default") if kind.of_project else None
    if not kind.of_project and envelope.project is not None:
        raise DocumentError(f"{where}: a {kind.name} is the whole service's; leave project out")
    if project is not None and not re.fullmatch(NAME, project):
        raise DocumentError(f"{where}: project = {project!r}: names have small letters, digits, - and _; mend it")
    if kind.single and envelope.name:
        raise DocumentError(f"{where}: there is one {kind.name}; leave name out")
    if not kind.single and not re.fullmatch(kind.names, envelope.name):
        raise DocumentError(f"{where}: name = {envelope.name!r}: a {kind.name} is named like {kind.names}; mend it")
    try:
        # Through JSON, as the service reads it: what is strict there is strict here.
        model = kind.model.model_validate_json(json.dumps(envelope.spec))
    except ValidationError as error:
        raise document_error(f"{where}: spec", error) from None
    except TypeError as error:
        raise DocumentError(f"{where}: spec: {error}; write it as text") from None
    return Declared(kind, project, envelope.name, model, where)


class _Plain(yaml.SafeLoader):
    """YAML as its version 1.2 reads it: `no` is a word and `18:00` is one too; a key that stands twice is a mistake."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (the base class's own)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        self.flatten_mapping(node)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+0123456789."),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"^(?:<<)$", "<"),
):
    _Plain.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def text(document: dict[str, Any]) -> str:
    """A document as YAML that `read` takes back."""
    dumped: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    return dumped
