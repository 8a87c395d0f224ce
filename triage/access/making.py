"""Making and ending keys: over HTTP (routes/keys.py) and straight in the store (commands/keys.py). Pure."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from triage.access.grants import GrantDocument, Subject
from triage.access.key_document import KeyDocument, NewKey, digest, new_key
from triage.access.principal import Principal
from triage.errors import Forbidden

_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class KeyRequest(BaseModel):
    """A key that is to be made. What it says is what the key's document will say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Subject
    grants: Annotated[tuple[GrantDocument, ...], Field(min_length=1, max_length=100)]
    project: _Name = "default"
    site: _Name = "default"
    names_reviewers: bool = False
    rate: Annotated[float, Field(gt=0, le=1e6)] | None = None
    expires_at: AwareDatetime | None = None
    note: Annotated[str, Field(max_length=500)] = ""


def made(wanted: KeyRequest, by: str, now: datetime.datetime) -> tuple[NewKey, KeyDocument]:
    """The key, to be told once, and the document that knows it."""
    new = new_key()
    return new, KeyDocument(**dict(wanted), sha256=digest(new.key), created_at=now, created_by=by)


def ended(document: KeyDocument, by: str, now: datetime.datetime) -> KeyDocument:
    """The document of a key that counts no longer from now on. One that was revoked before stays as it was."""
    if document.revoked_at is not None:
        return document
    return document.model_copy(update={"revoked_at": now, "revoked_by": by})


def told(prefix: str, document: KeyDocument, now: datetime.datetime) -> dict[str, Any]:
    """A key as lists show it, for JSON: everything but what it is known by."""
    stands = "revoked" if document.revoked_at else "expired" if document.ended(now) else "good"
    return {"prefix": prefix, "state": stands, **document.model_dump(mode="json", exclude={"sha256"})}


def check_within(admin: Principal, grants: tuple[GrantDocument, ...]) -> None:
    """Nobody gives what lies outside of their own projects and sites. Raises Forbidden."""
    for grant in grants:
        for project in grant.projects:
            for site in grant.sites:
                if not admin.may("keys", project, site):
                    where = f"{project}/{site}".replace("*", "(all)")
                    raise Forbidden(
                        f"{admin.subject} is no admin of {where}, and gives nobody a role there; name fewer projects or sites"
                    )
