"""The lane to Redis: in order, many at once, and nobody waits longer than he was told to."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as TooSlow

from embedded.stack import Valkey
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


@pytest.mark.parametrize("handshake", [False, True])
async def test_a_silent_server_is_waited_for_no_longer_than_told(handshake: bool) -> None:
    """Silent from the start, or after it has greeted."""
    over, talks = asyncio.Event(), set[asyncio.Task[None]]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())  # type: ignore[arg-type]
        while handshake and b"ECHO" not in (said := await reader.read(1 << 16)):
            if not said:
                break
            writer.write(b"+OK\r\n" * said.count(b"*"))
        await over.wait()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    lane = RedisLane(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", 0.2)
    with pytest.raises(TooSlow, match=r"no answer within 0\.2 s"):
        await lane.run([("ECHO", "x")])
    with pytest.raises(RedisError):
        await asyncio.wait_for(lane.run([("ECHO", "x")]), 10)
    await lane.close()
    over.set()
    server.close()
    await asyncio.gather(*talks)
