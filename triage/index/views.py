"""What GET shows of a prediction, as the index holds it: one string, `sr:view:<id>`. Pure.

    <revision> <rank> <length>\\n   then so many bytes of packed `<blob's key>\\n<caller>\\n<view>`, then the final state

Revision and rank stand in plain digits, since `view.lua` compares them. A rank of -1 says that there is no final state.
A string takes less than half of what a hash with the same content takes.
"""

from __future__ import annotations

import datetime
from typing import NamedTuple

import msgspec

from triage.index.lane import Command
from triage.index.packing import pack, unpack
from triage.index.scripts import script
from triage.reviewing.item import Item

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_HEAD = 64
"""Bytes in which the head of an entry ends."""


class Shown(NamedTuple):
    view: bytes
    """JSON, without the final state."""
    final: bytes | None
    """JSON; None while somebody is asked."""
    blob: str
    caller: str
    """Subject of whoever sent the image; empty where it is not known."""


def put(
    prediction: str, view: bytes, blob: str, revision: int, final: bytes = b"", rank: int = -1,
    retention_s: int | str = "", caller: str = "",
) -> Command:  # fmt: skip
    """Shows a view, a final state, or both, where they are newer and higher than what is shown already."""
    packed = pack(f"{blob}\n{caller}\n".encode() + view) if view else b""
    return script("view", [_key(prediction)], packed, revision, final, rank, retention_s)


def look(prediction: str) -> Command:
    """Reads an entry, for `read`."""
    return ("GET", _key(prediction))


def read(reply: bytes | None) -> Shown | None:
    """What `look` found; None where there is no view, which may be so although there is a final state."""
    if reply is None:
        return None
    head, _, rest = reply.partition(b"\n")
    _, rank, length = map(int, head.split())
    if length == 0:
        return None
    blob, caller, view = unpack(rest[:length]).split(b"\n", 2)
    return Shown(view, rest[length:] if rank >= 0 else None, blob.decode(), caller.decode())


def glance(prediction: str) -> Command:
    """Reads as much of an entry as tells whether it is final, for `is_final`."""
    return ("GETRANGE", _key(prediction), 0, _HEAD - 1)


def is_final(reply: bytes) -> bool:
    """Whether what `glance` found has a final state."""
    return bool(reply) and int(reply.partition(b"\n")[0].split()[1]) >= 0


def item_of(shown: Shown) -> Item:
    """The item of a prediction that its caller waits for, as its view tells it."""
    told = _views.decode(shown.view)
    return Item(
        id=told.id, project=told.project, site=told.site, case=told.case, sha256=shown.blob.rpartition("/")[2],
        received_at=_microseconds(told.received_at), reasons=told.reasons, suggestions=told.suggestions,
    )  # fmt: skip


class _View(msgspec.Struct):
    id: str
    project: str
    site: str
    case: str | None
    reasons: tuple[str, ...]
    suggestions: tuple[dict[str, str | float], ...]
    received_at: str


_views = msgspec.json.Decoder(_View)


def _microseconds(moment: str) -> int:
    return (datetime.datetime.fromisoformat(moment) - _EPOCH) // datetime.timedelta(microseconds=1)


def _key(prediction: str) -> str:
    return f"sr:view:{prediction}"
