"""`access.json`: which roles people and groups have that an OpenID provider or a proxy vouches for. Pure."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from triage.access.grants import GrantDocument, Subject
from triage.access.principal import Principal


class Person(NamedTuple):
    """Somebody whose name was vouched for, and the groups they are said to be in."""

    subject: str
    groups: tuple[str, ...] = ()


class AccessDocument(BaseModel):
    """Who is not in it may do nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    people: dict[Subject, tuple[GrantDocument, ...]] = {}
    """By the name that the provider or the proxy gives them."""
    groups: dict[Subject, tuple[GrantDocument, ...]] = {}

    def principal(self, person: Person) -> Principal:
        """What somebody may do by their own name and by each of their groups. A person names no other reviewer."""
        given = [*self.people.get(person.subject, ())]
        for group in person.groups:
            given += self.groups.get(group, ())
        grants = tuple(dict.fromkeys(each.grant() for each in given))
        return Principal(person.subject, grants)
