"""The Lua scripts and the names of the keys that they work on.

A script is a file in `lua/`. Those about items begin with `items.lua`, which says once what an item's fields are and where one
waits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from triage.index.lane import Command

_OF_ITEMS = (
    "answer", "close", "die", "enqueue", "extend", "held", "lease", "leave", "release", "requeue", "stats", "sweep",
)  # fmt: skip
_SHARED = "items"


def _sources() -> dict[str, str]:
    found = {path.name: path.read_text() for path in files("triage.index").joinpath("lua").iterdir()}
    lua = {name.removesuffix(".lua"): source for name, source in found.items() if name.endswith(".lua")}
    shared = lua.pop(_SHARED)
    return {name: shared + source if name in _OF_ITEMS else source for name, source in lua.items()}


SOURCES = _sources()
_DIGESTS = {name: hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest() for name, source in SOURCES.items()}


def script(name: str, keys: Sequence[str], *arguments: Any) -> Command:
    """A call of a script by its digest."""
    return ("EVALSHA", _DIGESTS[name], len(keys), *keys, *arguments)


def key(queue: str, name: str) -> str:
    """A key of a queue. All of them have one hash tag, and so one slot."""
    return f"sr:{{{queue}}}:{name}"
