"""How much the gateway holds at once: requests, and the bytes of their bodies. What is over is refused, not queued. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from triage.errors import Busy


class Room:
    """Counts what is in flight. One object for the life of the gateway; of one event loop, so without locks."""

    def __init__(self, requests: int, size: int, share: float = 1.0) -> None:
        """`share` of both is what one name may hold: somebody's slow or many bodies must not keep everybody else out."""
        self._most, self._most_bytes = requests, size
        self._each, self._each_bytes = max(1, math.ceil(share * requests)), share * size
        self._held: dict[str, _Held] = {}
        self.requests = 0
        self.bytes = 0

    def enter(self, count: int = 1, name: str = "") -> Place:
        """Room for `count` predictions, free again when the place is left. Without a name no share is asked. Raises Busy."""
        self._admit(count, name)
        return Place(self, count, name)

    def most(self, name: str = "") -> int:
        """How many predictions a name may have in flight."""
        return self._each if name else self._most

    def _admit(self, count: int, name: str) -> None:
        if self.requests + count > self._most:
            raise Busy(f"{self.requests} predictions are in flight; send this one again in a moment")
        held = self._held.get(name) or _Held()
        if name and held.requests + count > self._each:
            raise Busy(
                f"{held.requests} predictions of this key are in flight, and others need room, too; send this one again in a "
                "moment"
            )
        held.requests += count
        self._held[name] = held
        self.requests += count

    def yields(self) -> None:
        """What can wait leaves half of the room to what cannot. Raises Busy."""
        if 2 * self.requests >= self._most:
            raise Busy(
                f"{self.requests} predictions are in flight, and a backfill gives way; send this one again later"
            )

    def take(self, size: int, own: int, name: str = "") -> None:
        """Raises Busy. A body that is alone, whose `own` bytes are all there are, may grow: its limit is another."""
        if self.bytes > own and self.bytes + size > self._most_bytes:
            raise Busy(f"bodies of {self.bytes:,} bytes are in flight; send this one again in a moment")
        held = self._held[name]
        if name and held.bytes > own and held.bytes + size > self._each_bytes:
            raise Busy(
                f"bodies of {held.bytes:,} bytes of this key are in flight, and others need room, too; send this one again in "
                "a moment"
            )
        held.bytes += size
        self.bytes += size

    def leave(self, count: int, size: int, name: str = "") -> None:
        self.requests -= count
        self.bytes -= size
        held = self._held[name]
        held.requests -= count
        held.bytes -= size
        if not held.requests:
            del self._held[name]


@dataclass
class _Held:
    requests: int = 0
    bytes: int = 0


class Place:
    """What one request holds."""

    def __init__(self, room: Room, count: int, name: str) -> None:
        self._room = room
        self._name = name
        self.count = count
        self._held = 0

    def hold(self, size: int) -> None:
        """Holds `size` bytes in all from now on, if that is more than before. Raises Busy."""
        if size > self._held:
            self._room.take(size - self._held, self._held, self._name)
            self._held = size

    def more(self, count: int) -> None:
        """Room for `count` predictions more. Raises Busy."""
        self._room.enter(count, self._name)
        self.count += count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.leave(self.count, self._held, self._name)
