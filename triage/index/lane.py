"""Commands of many callers over one connection to Redis, in order, as many in one write as have gathered meanwhile.

Of redis-py it takes connecting and greeting, and leaves out pool, pipeline and reading, which every prediction would pay for.
What finds nothing under way is written at once; what comes while replies are awaited gathers, and leaves with the last of them:
one caller waits for nobody, and many share a write.

A connection that broke before it answered is tried once more, so that a restarted Redis is no failure; every script of ours
may run twice. What was answered in part is not: it is unknown what ran.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import DefaultParser
from redis.exceptions import ConnectionError as Broken
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as TooSlow

Command = tuple[Any, ...]


class _Call:
    """Some commands of one caller, and the replies to them so far."""

    __slots__ = ("answered", "begun", "packed", "pinned", "replies", "want")

    def __init__(self, commands: Sequence[Command], answered: asyncio.Future[list[Any]], pinned: bool) -> None:
        self.packed = b"".join([hiredis.pack_command(command) for command in commands])
        self.want = len(commands)
        self.replies: list[Any] = []
        self.answered = answered
        self.pinned = pinned
        """To the connection that stood when it was asked for."""
        self.begun = 0
        """How often it was sent."""


class RedisLane:
    """`run` raises redis-py's RedisError, or OSError, when the server does not answer or refuses a command."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._pool = ConnectionPool.from_url(
            url, protocol=2, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, client_name="secondreader"
        )
        self._timeout_s = timeout_s
        self._waiting: deque[_Call] = deque()
        """Not sent yet, in order."""
        self._line: _Line | None = None
        self._connecting: asyncio.Task[None] | None = None
        self.connections = 0
        """How many there were: what was learned over one may not hold of the server behind the next."""

    async def run(self, commands: Sequence[Command], over: int | None = None) -> list[Any]:
        """The replies, in order. Cancelling the caller cancels nothing that was sent. `over`: only over this connection, for
        what would be wrong to ask a server that came back otherwise."""
        if not commands:
            return []
        if over is not None and (self._line is None or over != self.connections):
            raise Broken("the connection broke; what was known of the server holds no longer")
        call = _Call(commands, asyncio.get_running_loop().create_future(), over is not None)
        self._waiting.append(call)
        self._go_on()
        for reply in (replies := await call.answered):
            if isinstance(reply, RedisError):
                raise reply
        return replies

    async def close(self) -> None:
        if self._connecting is not None:
            await asyncio.wait([self._connecting])
        if self._line is not None:
            self._line.close()

    def _go_on(self) -> None:
        """Sends what waits, unless replies are awaited; they will."""
        if self._line is None:
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._connect())
        elif not self._line.sent:
            calls, self._waiting = self._waiting, deque()
            self._line.send(calls)

    async def _connect(self) -> None:
        try:
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            async with asyncio.timeout(self._timeout_s):
                await connection.connect()
            # From here on its transport is ours, with everything that the URL asked for.
            writer, connection._writer = connection._writer, None
            self._line = _Line(writer, self._timeout_s, self._go_on, self._lost)
            self.connections += 1
            error: Exception | None = None
        except TimeoutError:
            error = TooSlow(f"no answer within {self._timeout_s:g} s")
        except Exception as found:  # whatever it was, nobody may wait for ever
            error = found
        self._connecting = None
        if error is not None:
            calls, self._waiting = self._waiting, deque()
            _fail(calls, error)
        elif self._waiting:
            self._go_on()

    def _lost(self, line: _Line, error: Exception) -> None:
        if self._line is line:
            self._line = None
        # In a batch of which something was answered nothing runs again: it is unknown where it broke.
        again = isinstance(error, (Broken, OSError)) and not line.answered_some
        _fail([call for call in line.sent if not (again and _may_move(call))], error)
        _fail([call for call in self._waiting if call.pinned], error)
        self._waiting = deque(call for call in self._waiting if not call.pinned)
        if again:
            self._waiting.extendleft(reversed([call for call in line.sent if _may_move(call)]))
        if self._waiting:
            self._go_on()


class _Line(asyncio.Protocol):
    """One connection. Its transport calls it; it calls `ready` when everything is answered, and `lost` once."""

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        timeout_s: float,
        ready: Callable[[], None],
        lost: Callable[[_Line, Exception], None],
    ) -> None:
        self._writer = writer  # kept only because it would close its transport when it goes
        self._transport = writer.transport
        self._transport.set_protocol(self)
        self._timeout_s = timeout_s
        self._ready = ready
        self._lost = lost
        self._reader = hiredis.Reader(replyError=DefaultParser.parse_error)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._over = False
        self.sent: deque[_Call] = deque()
        self.answered_some = False
        """Of what was sent last."""

    def send(self, calls: deque[_Call]) -> None:
        self.sent, self.answered_some = calls, False
        for call in calls:
            call.begun += 1
            call.replies.clear()
        self._heard = self._loop.time()
        if self._timer is None:  # one that runs on from batch to batch: setting one each time costs more than a reply
            self._timer = self._loop.call_at(self._heard + self._timeout_s, self._look)
        self._transport.write(calls[0].packed if len(calls) == 1 else b"".join([call.packed for call in calls]))

    def close(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except hiredis.ProtocolError as error:
            self._break(Broken(f"no Redis: {error}"))
            return
        if not self.sent:
            self._ready()

    def _take(self, reply: Any) -> None:
        if not self.sent:
            raise hiredis.ProtocolError("a reply that nobody asked for")
        call = self.sent[0]
        call.replies.append(reply)
        self.answered_some = True
        if len(call.replies) == call.want:
            self.sent.popleft()
            if not call.answered.done():
                call.answered.set_result(call.replies)

    def connection_lost(self, error: Exception | None) -> None:
        self._break(error if isinstance(error, OSError) else Broken("the connection was closed by the server"))

    def _look(self) -> None:
        """Whether the server still answers."""
        self._timer = None
        if not self.sent:
            return
        if self._loop.time() - self._heard >= self._timeout_s:
            self._break(TooSlow(f"no answer within {self._timeout_s:g} s"))
        else:
            self._timer = self._loop.call_at(self._heard + self._timeout_s, self._look)

    def _break(self, error: Exception) -> None:
        if not self._over:
            self.close()
            self._lost(self, error)


def _may_move(call: _Call) -> bool:
    return call.begun == 1 and not call.pinned


def _fail(calls: Iterable[_Call], error: Exception) -> None:
    for call in calls:
        if not call.answered.done():
            call.answered.set_exception(error)
