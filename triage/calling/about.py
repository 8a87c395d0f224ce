"""What a caller says beside the image, from the query and from a body's metadata. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triage.errors import BadRequest, Invalid

_MAX_SOURCE = 500
"""Characters of one value of a caller's metadata."""


class Named(BaseModel):
    """The names that mean something to the service; every other name is metadata of the caller's."""

    model_config = ConfigDict(frozen=True)

    project: Annotated[str, Field(max_length=64)] | None = None
    """The key's own when it is left out; `default` for a key that has none. The same holds for the site."""
    site: Annotated[str, Field(max_length=64)] | None = None
    case: Annotated[str, Field(max_length=200)] | None = None
    view: Annotated[str, Field(max_length=200)] | None = None
    role: Literal["current", "prior"] = "current"
    person: Annotated[str, Field(max_length=500)] | None = None
    """Of whom the image is. Only a keyed hash is kept, so that all that is of this person can be found for a purge."""


@dataclass(frozen=True)
class About:
    """What one image is about."""

    project: str
    site: str
    case: str | None = None
    view: str | None = None
    role: Literal["current", "prior"] = "current"
    person: str | None = None
    source: dict[str, str] = field(default_factory=dict)


def about(given: Mapping[str, Any], source_fields: Sequence[str], project: str, site: str) -> About:
    """`given` are names and values of any kind, `project` and `site` those of a request that names none; of the other names
    only those in `source_fields` are kept. Raises Invalid."""
    try:
        named = Named.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Invalid(f"{where}: {first['msg']}; see /openapi.json") from None
    source = {name: _text(name, value) for name in source_fields if (value := given.get(name)) not in (None, "")}
    return About(
        named.project or project, named.site or site, named.case, named.view, named.role, named.person or None, source
    )


def metadata(text: bytes | bytearray) -> dict[str, Any]:
    """The names and values of a JSON object. Raises BadRequest."""
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f'the metadata is no JSON object ({error}); send one like {{"site": "north"}}') from None
    return found


def _text(name: str, value: Any) -> str:
    match value:
        case bool():
            text = "true" if value else "false"
        case str() | int() | float():
            text = str(value)
        case _:
            raise Invalid(f"{name} is neither text nor a number; send its value as one of them")
    if len(text) > _MAX_SOURCE:
        raise Invalid(f"{name} has more than {_MAX_SOURCE} characters; shorten it")
    return text
