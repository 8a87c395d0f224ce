"""How much the gateway holds at once: requests, and the bytes of their bodies. What is over is refused, not queued. Pure."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from triage.errors import Busy


class Room:
    """Counts what is in flight. One object for the life of the gateway; of one event loop, so without locks."""

    def __init__(self, requests: int, size: int) -> None:
        self._most, self._most_bytes = requests, size
        self.requests = 0
        self.bytes = 0

    def enter(self, count: int = 1) -> Place:
        """Room for `count` predictions, free again when the place is left. Raises Busy."""
        if self.requests + count > self._most:
            raise Busy(f"{self.requests} predictions are in flight; send this one again in a moment")
        self.requests += count
        return Place(self, count)

    def yields(self) -> None:
        """What can wait leaves half of the room to what cannot. Raises Busy."""
        if 2 * self.requests >= self._most:
            raise Busy(
                f"{self.requests} predictions are in flight, and a backfill gives way; send this one again later"
            )

    def take(self, size: int, own: int) -> None:
        """Raises Busy. A body that is alone, whose `own` bytes are all there are, may grow: its limit is another."""
        if self.bytes > own and self.bytes + size > self._most_bytes:
            raise Busy(f"bodies of {self.bytes:,} bytes are in flight; send this one again in a moment")
        self.bytes += size

    def leave(self, count: int, size: int) -> None:
        self.requests -= count
        self.bytes -= size


class Place:
    """What one request holds."""

    def __init__(self, room: Room, count: int) -> None:
        self._room = room
        self.count = count
        self._held = 0

    def hold(self, size: int) -> None:
        """Holds `size` bytes in all from now on, if that is more than before. Raises Busy."""
        if size > self._held:
            self._room.take(size - self._held, self._held)
            self._held = size

    def more(self, count: int) -> None:
        """Room for `count` predictions more. Raises Busy."""
        self._room.enter(count)
        self.count += count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.leave(self.count, self._held)
