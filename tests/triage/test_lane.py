"""The lane to Redis: in order, many at once, and nobody waits longer than he was told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as Broken
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as TooSlow

from embedded.stack import Valkey
from tests.services import running_valkey
from triage.index.lane import RedisLane


async def test_many_callers_share_it_and_each_has_its_own_replies(valkey: Valkey) -> None:
    lane = RedisLane(valkey.url, 5.0)
    found = await asyncio.gather(*(lane.run([("ECHO", f"{n}"), ("ECHO", n), ("ECHO", n / 2)]) for n in range(200)))
    assert found == [[b"%d" % n, b"%d" % n, repr(n / 2).encode()] for n in range(200)]
    await lane.close()


async def test_a_command_that_is_refused_is_its_caller_s_only(valkey: Valkey) -> None:
    lane = RedisLane(valkey.url, 5.0)
    good, bad = lane.run([("ECHO", "x")]), lane.run([("NO-SUCH-COMMAND",)])
    results = await asyncio.gather(good, bad, lane.run([("ECHO", "y")]), return_exceptions=True)
    assert [results[0], results[2]] == [[b"x"], [b"y"]]
    assert isinstance(results[1], ResponseError)
    await lane.close()


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def played(talk: Talk, timeout_s: float = 5.0) -> AsyncIterator[RedisLane]:
    """A lane to a server of our own that plays Redis' part."""
    talks = set[asyncio.Task[None]]()

    async def told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(ConnectionError):
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(told, "127.0.0.1", 0)
    lane = RedisLane(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", timeout_s)
    try:
        yield lane
    finally:
        await lane.close()
        server.close()
        await asyncio.gather(*talks)


async def greeted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Says yes to whatever a client says before its first ECHO, which this gives."""
    while b"ECHO" not in (said := await reader.read(1 << 20)):
        if not said:
            break
        writer.write(b"+OK\r\n" * said.count(b"*"))
    return said


@pytest.mark.parametrize("greets", [False, True])
async def test_a_silent_server_is_waited_for_no_longer_than_told(greets: bool) -> None:
    """Silent from the start, or after it has greeted."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if greets:
            await greeted(reader, writer)
        await reader.read()

    async with played(talk, 0.2) as lane:
        for _ in range(2):
            with pytest.raises(TooSlow, match=r"no answer within 0\.2 s"):
                await lane.run([("ECHO", "x")])


async def test_a_restarted_server_is_no_failure_for_who_had_no_answer_yet(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as own:
        lane = RedisLane(own.url, 5.0)
        await lane.run([("SET", "x", "1")])
        own.process.kill()
        own.start()
        assert await asyncio.gather(*(lane.run([("APPEND", "x", "2"), ("GET", "x")]) for _ in range(3)))
        await lane.close()


async def test_what_broke_between_answers_is_not_run_again() -> None:
    """Nobody knows how much of it ran."""
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await greeted(reader, writer))
        writer.write(b"+half\r\n")
        await writer.drain()

    async with played(talk) as lane:
        with pytest.raises(Broken):
            await lane.run([("ECHO", "a"), ("ECHO", "b")])
        assert len(heard) == 1


async def test_what_broke_before_an_answer_is_sent_once_more_and_no_oftener() -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await greeted(reader, writer))

    async with played(talk) as lane:
        with pytest.raises(Broken):
            await lane.run([("ECHO", "a")])
        assert len(heard) == 2


async def test_what_holds_of_one_connection_is_asked_over_no_other(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as server:
        lane = RedisLane(server.url, 5.0)
        await lane.run([("PING",)])
        over = lane.connections
        assert await lane.run([("ECHO", "x")], over) == [b"x"]
        server.process.kill()
        server.start()
        with pytest.raises(Broken):  # sent or not, it is not sent again
            await lane.run([("SET", "pinned", "1")], over)
        assert await lane.run([("EXISTS", "pinned")]) == [0]
        with pytest.raises(Broken):
            await lane.run([("SET", "pinned", "1")], over)
        assert await lane.run([("EXISTS", "pinned")]) == [0]
        await lane.close()


async def test_what_gathers_while_replies_are_awaited_leaves_in_one_write() -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await greeted(reader, writer)
        while said:
            heard.append(said)
            writer.write(b"+OK\r\n" * said.count(b"*"))
            said = await reader.read(1 << 20)

    async with played(talk) as lane:
        await lane.run([("ECHO", "first")])
        assert await asyncio.gather(*(lane.run([("ECHO", str(number))]) for number in range(50))) == [[b"OK"]] * 50
    assert len(heard) == 3  # the first; the first of fifty, which found nothing under way; the rest
