"""The secret under which people are known: beside the control documents, made once, so that every replica finds the same hash.

Whose image it is stands in no record. A keyed hash of the name does, so that everything about one person can be found for a
purge by whoever knows the name and has the key; without the key the hashes of all likely names could be tried.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from triage.store.shared_key import shared_key

NAME = "person.key"


def person_key(control: str | Path) -> bytes:
    """The key beside the control documents; whoever comes first makes it. Raises SettingsError."""
    return shared_key(control, NAME, "under which people are known", "if nobody is to be found any more")


def keyed_person(key: bytes, project: str, person: str) -> str:
    """What records hold instead of a name, 64 hexadecimal digits: another one in each project. Pure."""
    return hmac.new(key, f"{project}\0{person}".encode(), hashlib.sha256).hexdigest()
