"""How a document gives somebody a role: shared by keys and by the mapping of people and groups."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from triage.access.principal import EVERYTHING, Grant
from triage.access.roles import Role

Subject = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f~]+$")]
"""Stands in records and lease tokens' holders: no control characters, and not the `~` that tokens are divided by."""
Scope = Annotated[str, Field(pattern=r"^(\*|[a-z0-9][a-z0-9_-]{0,63})$")]
"""The name of a project or a site, or `*`."""


class GrantDocument(BaseModel):
    """A role, for projects and for their sites. Left out, they are all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    projects: Annotated[tuple[Scope, ...], Field(min_length=1)] = (EVERYTHING,)
    sites: Annotated[tuple[Scope, ...], Field(min_length=1)] = (EVERYTHING,)

    def grant(self) -> Grant:
        return Grant(self.role, frozenset(self.projects), frozenset(self.sites))
