"""The index's connection to Redis, and what it keeps of itself.

sr:checkpoint:<node>    how far that node's journal is indexed     sr:epoch  changes when the index was lost
"""

from __future__ import annotations

from typing import Any, cast

from redis.exceptions import NoScriptError, RedisError, ResponseError

from triage.errors import IndexAway
from triage.index.lane import Command, RedisLane
from triage.index.scripts import SOURCES
from triage.ports import Position


class RedisIndex:
    """Every method raises IndexAway when Redis does not answer."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._lane = RedisLane(url, timeout_s)

    async def close(self) -> None:
        await self._lane.close()

    async def run(self, *commands: Command, over: int | None = None) -> list[Any]:
        """One round trip. Scripts are sent by digest, and again in full to a server that does not know them. `over`: only over
        this one of the `connections`."""
        try:
            try:
                return await self._lane.run(commands, over)
            except NoScriptError:
                await self._lane.run([("SCRIPT", "LOAD", source) for source in SOURCES.values()])
                return await self._lane.run(commands, over)
        except (RedisError, OSError) as error:
            raise _away(error) from error

    @property
    def connections(self) -> int:
        return self._lane.connections

    async def identity(self) -> str:
        """Which index this is, `<epoch>/<run id>`: another one after a restart, and after everything was wiped."""
        return _identity(*await self.run(("GET", "sr:epoch"), ("INFO", "server")))

    async def epoch(self, candidate: str) -> str:
        """The index's epoch, set to `candidate` when there is none: it changes when Redis was wiped."""
        _, epoch = await self.run(("SET", "sr:epoch", candidate, "NX"), ("GET", "sr:epoch"))
        return cast(bytes, epoch).decode()

    async def checkpoint(self, node: str) -> Position | None:
        """How far a node's journal is indexed; None when never."""
        return _position((await self.run(("GET", f"sr:checkpoint:{node}")))[0])

    async def standing(self, candidate: str, node: str) -> tuple[str, str, Position | None]:
        """`epoch`, `identity` and `checkpoint` of one moment."""
        _, epoch, said, stored = await self.run(
            ("SET", "sr:epoch", candidate, "NX"),
            ("GET", "sr:epoch"),
            ("INFO", "server"),
            ("GET", f"sr:checkpoint:{node}"),
        )
        return epoch.decode(), _identity(epoch, said), _position(stored)

    async def set_checkpoint(self, node: str, position: Position) -> None:
        await self.run(("SET", f"sr:checkpoint:{node}", f"{position.segment}:{position.offset}"))

    async def info(self) -> dict[str, str]:
        """What the server says of itself."""
        lines = (await self.run(("INFO",)))[0].decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def refused(error: IndexAway) -> bool:
    """Whether Redis answered, and would not do this one thing."""
    return isinstance(error.__cause__, ResponseError)


def _away(error: Exception) -> IndexAway:
    return IndexAway(f"Redis does not answer ({type(error).__name__}); predictions go on, try this again soon")


def _identity(epoch: bytes | None, said: bytes) -> str:
    found = (line.partition(":") for line in said.decode().splitlines())
    run = next(value for name, _, value in found if name == "run_id")
    return f"{epoch.decode() if epoch else ''}/{run}"


def _position(stored: bytes | None) -> Position | None:
    if stored is None:
        return None
    segment, offset = stored.decode().split(":")
    return Position(int(segment), int(offset))
