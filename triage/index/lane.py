"""Commands of many callers over one connection to Redis, in order, as many in one write as have gathered meanwhile.

Of redis-py it takes connecting and the protocol, and leaves out pool and pipeline, which every prediction would pay for. A
connection that broke before it answered is tried once more, so that a restarted Redis is no failure; every script of ours
may run twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hiredis import pack_command
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as Broken
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as TooSlow

Command = tuple[Any, ...]
_Call = tuple[bytes, int, "asyncio.Future[list[Any]]"]


class RedisLane:
    """`run` raises redis-py's RedisError, or OSError, when the server does not answer or refuses a command."""

    def __init__(self, url: str, timeout_s: float) -> None:
        # Without a time limit of its own: it would wrap each send and each reply in one, which costs more than the replies.
        pool = ConnectionPool.from_url(url, protocol=2, socket_timeout=None, client_name="secondreader")
        self._connection = pool.make_connection()  # type: ignore[no-untyped-call]
        self._timeout_s = timeout_s
        self._waiting: list[_Call] = []
        self._driver: asyncio.Task[None] | None = None

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, in order. Cancelling the caller cancels nothing that was sent."""
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        packed = b"".join([pack_command(command) for command in commands])
        self._waiting.append((packed, len(commands), future))
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())
        replies = await future
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        return replies

    async def close(self) -> None:
        if self._driver is not None:
            await asyncio.wait([self._driver])
        await self._connection.disconnect()

    async def _drive(self) -> None:
        while self._waiting:
            calls, self._waiting = self._waiting, []
            try:
                try:
                    await self._exchange(calls)
                except (Broken, OSError):
                    await self._connection.disconnect(nowait=True)
                    if any(future.done() and not future.cancelled() for *_, future in calls):
                        raise  # it broke between answers: what was answered must not run again
                    await self._exchange(calls)
            except Exception as error:  # whatever it was, nobody may wait for ever
                await self._connection.disconnect(nowait=True)
                for *_, future in calls:
                    if not future.done():
                        future.set_exception(error)

    async def _exchange(self, calls: list[_Call]) -> None:
        now = asyncio.get_running_loop().time
        ends = now() + self._timeout_s
        try:
            async with asyncio.timeout_at(ends) as limit:
                if not self._connection.is_connected:
                    await self._connection.connect()
                await self._connection.send_packed_command([b"".join([packed for packed, *_ in calls])])
                for _, count, future in calls:
                    replies = [await self._reply() for _ in range(count)]
                    if not future.done():
                        future.set_result(replies)
                    if now() > ends - self._timeout_s / 2:  # it goes on answering
                        limit.reschedule(ends := now() + self._timeout_s)
        except TimeoutError:
            raise TooSlow(f"no answer within {self._timeout_s:g} s") from None

    async def _reply(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as refused:  # the answer to this command; the connection is sound
            return refused
