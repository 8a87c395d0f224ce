"""Connections to the model's server: kept, bounded, and never a reply for somebody else. The servers are our own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from embedded.ports import free_ports
from triage.classifier import connections
from triage.classifier.connections import Connections, Reply

Answer = Callable[["Seen"], Awaitable[bytes]]


@dataclass
class Seen:
    """What a server saw: a number for each connection that was opened, and on which one each body came."""

    opened: int = 0
    most_at_once: int = 0
    bodies: list[tuple[int, bytes]] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    now: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)


def ok(body: bytes, more: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: x/y\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[tuple[str, Seen]]:
    """Says what `answer` gives to each request; an empty answer closes the connection."""
    seen, talks = Seen(), set[asyncio.Task[None]]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())  # type: ignore[arg-type]
        seen.opened += 1
        mine = seen.opened
        seen.writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                seen.bodies.append((mine, await reader.readexactly(length)))
                seen.came.set()
                seen.now += 1
                seen.most_at_once = max(seen.most_at_once, seen.now)
                said = await answer(seen)
                seen.now -= 1
                if not said:
                    break
                writer.write(said)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    finally:
        server.close()
        for writer in seen.writers:
            writer.close()
        await asyncio.gather(*talks)


async def echo(seen: Seen) -> bytes:
    return ok(seen.bodies[-1][1])


async def test_one_connection_serves_one_after_another() -> None:
    async with serving(echo) as (url, seen):
        client = Connections(url, 4)
        for body in (b"a", b"", b"c" * 300_000):
            assert await client.post(b"/p", body, 5) == Reply(200, "x/y", body)
        assert seen.opened == 1
        await client.close()


async def test_no_more_than_allowed_are_under_way_and_each_has_its_own_reply() -> None:
    async with serving(echo) as (url, seen):
        client = Connections(url, 3)
        sent = [str(number).encode() for number in range(40)]
        replies = await asyncio.gather(*(client.post(b"/p", body, 5) for body in sent))
        assert [reply.body for reply in replies] == sent
        assert seen.most_at_once <= 3 >= seen.opened
        await client.close()


async def test_a_connection_that_the_server_closed_meanwhile_costs_nothing() -> None:
    """Noticed before it is used, and also when the request meets the close."""

    async def once_each(seen: Seen) -> bytes:
        mine, body = seen.bodies[-1]
        return ok(body) if sum(number == mine for number, _ in seen.bodies) == 1 else b""

    async with serving(once_each) as (url, seen):
        client = Connections(url, 1)
        assert (await client.post(b"/p", b"first", 5)).body == b"first"
        assert (await client.post(b"/p", b"second", 5)).body == b"second"
        assert seen.bodies == [(1, b"first"), (1, b"second"), (2, b"second")]
        for writer in seen.writers:
            writer.close()
            await writer.wait_closed()
        assert (await client.post(b"/p", b"third", 5)).body == b"third"
        await client.close()


async def test_what_was_answered_in_part_is_not_asked_again() -> None:
    async def half(seen: Seen) -> bytes:
        if len(seen.bodies) == 1:
            return ok(b"whole")
        seen.writers[-1].write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        return b""

    async with serving(half) as (url, seen):
        client = Connections(url, 2)
        await client.post(b"/p", b"1", 5)
        with pytest.raises(ConnectionError):
            await client.post(b"/p", b"2", 5)
        assert len(seen.bodies) == 2
        await client.close()


async def test_a_fresh_connection_that_breaks_is_not_tried_again() -> None:
    async def nothing(_: Seen) -> bytes:
        return b""

    async with serving(nothing) as (url, seen):
        client = Connections(url, 2)
        with pytest.raises(ConnectionError):
            await client.post(b"/p", b"1", 5)
        assert len(seen.bodies) == 1
        await client.close()


async def test_a_late_reply_meets_nobody_else() -> None:
    """Who is cancelled, or waits too long, takes the connection with it."""
    go = asyncio.Event()

    async def slow(seen: Seen) -> bytes:
        body = seen.bodies[-1][1]
        if body.startswith(b"slow"):
            await go.wait()
        return ok(body)

    async with serving(slow) as (url, seen):
        client = Connections(url, 1)
        await client.post(b"/p", b"warm", 5)
        seen.came.clear()
        gone = asyncio.create_task(client.post(b"/p", b"slow, cancelled", 5))
        await seen.came.wait()
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        with pytest.raises(TimeoutError):
            await client.post(b"/p", b"slow, too late", 0.05)
        go.set()
        assert (await client.post(b"/p", b"next", 5)).body == b"next"
        await client.close()


async def test_waiting_for_a_turn_is_inside_the_time() -> None:
    go = asyncio.Event()

    async def held(seen: Seen) -> bytes:
        await go.wait()
        return ok(b"")

    async with serving(held) as (url, seen):
        client = Connections(url, 1)
        first = asyncio.create_task(client.post(b"/p", b"1", 5))
        await seen.came.wait()
        with pytest.raises(TimeoutError):
            await client.post(b"/p", b"2", 0.05)
        go.set()
        await first
        assert [body for _, body in seen.bodies] == [b"1"]
        await client.close()


@pytest.mark.parametrize(
    "said",
    [
        ok(b"bye", "Connection: close\r\n"),
        b"HTTP/1.1 503 Busy\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbye",
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nbye",
    ],
)
async def test_a_server_that_closes_is_met_on_a_new_connection(said: bytes) -> None:
    async def closing(_: Seen) -> bytes:
        return said

    async with serving(closing) as (url, seen):
        client = Connections(url, 1)
        for _ in range(2):
            assert (await client.post(b"/p", b"x", 5)).body == b"bye"
        assert seen.opened == 2
        await client.close()


async def test_a_reply_that_is_no_http_or_has_no_end_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_REPLY_BYTES", 10_000)
    for said in (b"SSH-2.0-x\r\n\r\n", ok(bytes(10_001))):

        async def answer(_: Seen, said: bytes = said) -> bytes:
            return said

        async with serving(answer) as (url, seen):
            client = Connections(url, 1)
            with pytest.raises(ConnectionError):
                await client.post(b"/p", b"x", 5)
            assert len(seen.bodies) == 1
            await client.close()


async def test_an_unused_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(echo) as (url, seen):
        client = Connections(url, 2)
        await client.post(b"/p", b"1", 5)
        monkeypatch.setattr(connections, "_KEPT_S", -1.0)
        await client.post(b"/p", b"2", 5)
        assert seen.opened == 2
        await client.close()


async def test_nobody_there_is_an_os_error() -> None:
    client = Connections(f"http://127.0.0.1:{free_ports(1)[0]}", 1)
    for _ in range(2):  # the turn was given back
        with pytest.raises(OSError, match="Connect"):
            await client.post(b"/p", b"x", 5)
    await client.close()
