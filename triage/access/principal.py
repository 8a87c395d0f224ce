"""Whoever makes a request, and what they may do. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from triage.access.roles import ROLES, Permission, Role

EVERYTHING = "*"


@dataclass(frozen=True)
class Grant:
    """A role, for projects and for their sites; `*` is all of them."""

    role: Role
    projects: frozenset[str] = frozenset({EVERYTHING})
    sites: frozenset[str] = frozenset({EVERYTHING})

    def covers(self, project: str | None, site: str | None) -> bool:
        """None: the request is about no single one, and any will do."""
        return (project is None or _in(project, self.projects)) and (site is None or _in(site, self.sites))


@dataclass(frozen=True)
class Principal:
    """`subject` names a key's owner, a person or a program, and outlives a key that is renewed."""

    subject: str
    grants: tuple[Grant, ...]
    project: str = "default"
    """Of a request that names none; and the next."""
    site: str = "default"
    key: str = ""
    """Prefix of the key that was shown; empty for people."""
    names_reviewers: bool = False
    """A program that leases and answers for people it names."""
    rate: float | None = None
    """Requests a second at each gateway, where that is not the setting's."""

    whole: bool = False
    """May have all of the room: there is nobody else."""

    @property
    def holds_as(self) -> str:
        """Under which name its predictions in flight are counted together; empty where it has no share to keep to."""
        return "" if self.whole else self.key or self.subject

    def may(self, permission: Permission, project: str | None = None, site: str | None = None) -> bool:
        return any(permission in ROLES[grant.role] and grant.covers(project, site) for grant in self.grants)

    def sites(self, permission: Permission, project: str) -> frozenset[str] | None:
        """The sites of a project for which something is permitted; None: all of them."""
        held = [grant for grant in self.grants if permission in ROLES[grant.role] and grant.covers(project, None)]
        named = frozenset(site for grant in held for site in grant.sites)
        return None if EVERYTHING in named else named


def _in(name: str, names: frozenset[str]) -> bool:
    return EVERYTHING in names or name in names


_ALL = (Grant("admin"), Grant("caller"), Grant("reviewer"), Grant("adjudicator"))
LOCAL = Principal("local", _ALL, names_reviewers=True, whole=True)
"""Whoever calls a gateway that listens on this machine only and has no keys yet."""
DEVELOPMENT = Principal("development", _ALL, names_reviewers=True, whole=True)
"""Whoever shows the development key to a gateway that listens on this machine only."""
FIRST = Principal("first-admin", (Grant("admin"),))
"""Whoever shows the key whose digest is in the settings: they make the keys that others use."""
