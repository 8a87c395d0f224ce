"""The faults: each does one thing to a running world, and mends it again as an operator or a supervisor would."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.world import World

Act = Callable[[World, float], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """`act` does it, lasts for the seconds it is given, and mends it. `launched` are faults that a gateway is born with."""

    name: str
    act: Act
    launched: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


async def _thread(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)


async def gateway_killed(world: World, seconds: float) -> None:
    world.gateways[0].process.kill()
    await asyncio.sleep(seconds)
    await _thread(world.gateways[0].start)


async def died_at(world: World, seconds: float) -> None:
    """Waits for the gateway that was born to die, and starts it again."""
    async with asyncio.timeout(60):
        while world.gateways[0].process.running:  # noqa: ASYNC110  # a process tells nobody that it ended
            await asyncio.sleep(0.05)
    await _thread(world.gateways[0].restart)


async def gateway_stopped(world: World, seconds: float) -> None:
    world.gateways[0].signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    world.gateways[0].signal(signal.SIGCONT)


async def gateway_drained(world: World, seconds: float) -> None:
    await _thread(world.gateways[0].process.stop)
    await _thread(world.gateways[0].start)


async def redis_killed(world: World, seconds: float) -> None:
    world.valkey.process.kill()
    await asyncio.sleep(seconds)
    await _thread(world.valkey.start)


async def redis_wiped(world: World, seconds: float) -> None:
    def wipe() -> None:
        with world.redis() as redis:
            redis.flushall()

    await _thread(wipe)
    await asyncio.sleep(seconds)


async def redis_rewound(world: World, seconds: float) -> None:
    """It comes back with what it held some seconds ago, as after a fail-over to a replica that lagged."""
    kept = world.valkey.folder.with_name("kept")

    def save() -> None:
        with world.redis() as redis:
            redis.config_set("appendfsync", "always")
        shutil.copytree(world.valkey.folder, kept)

    def rewind() -> None:
        world.valkey.process.kill()
        shutil.rmtree(world.valkey.folder)
        kept.rename(world.valkey.folder)
        world.valkey.start()

    await _thread(save)
    await asyncio.sleep(seconds)
    await _thread(rewind)


def _cable(which: str, state: str) -> Act:
    async def act(world: World, seconds: float) -> None:
        proxy = getattr(world, which)
        await _thread(lambda: proxy.become(state))
        await asyncio.sleep(seconds)
        await _thread(lambda: proxy.become("whole"))

    return act


async def model_killed(world: World, seconds: float) -> None:
    assert world.model is not None
    world.model.kill()
    await asyncio.sleep(seconds)
    await _thread(world.start_model)


async def model_stopped(world: World, seconds: float) -> None:
    assert world.model is not None
    world.model.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    world.model.signal(signal.SIGCONT)


async def model_slow(world: World, seconds: float) -> None:
    world.delay.write_text("3")
    await asyncio.sleep(seconds)
    world.delay.unlink()


def _while_there(name: str, text: str = "") -> Act:
    """The launcher's fault holds while this file is there; a gateway whose journal broke by it is started anew."""

    async def act(world: World, seconds: float) -> None:
        path = Path(world.environment["FAULT_FOLDER"]) / name
        path.write_text(text)
        await asyncio.sleep(seconds)
        path.unlink()
        if not text:
            await _thread(world.gateways[0].restart)

    return act


async def disk_full(world: World, seconds: float) -> None:
    """The rest of the small disk that the journal lies on is filled, and emptied again; a gateway whose journal broke is
    started anew."""
    filler = world.journal / "filler"
    await _thread(lambda: _fill(filler))
    await asyncio.sleep(seconds)
    filler.unlink()
    for gateway in world.gateways:
        await _thread(gateway.restart)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while stream.write(b"\0" * size):
                    pass
            except OSError:
                continue


def _step(place: str, when: str, call: int) -> Fault:
    name = f"killed {when} {place.rpartition(':')[2]}"
    return Fault(name, died_at, {0: {"die": place, "when": when, "call": call}})


PREDICTION_STEPS = (
    ("triage.store.blobs:LocalBlobs.put", 60),
    ("triage.journal.segments:SegmentJournal._commit", 60),
    ("triage.recorder:Recorder.record", 60),
    ("triage.index.reviews:RedisReviews.enqueue", 30),
)
VERDICT_STEPS = (
    ("triage.index.reviews:RedisReviews.lease", 40),
    ("triage.index.reviews:RedisReviews.answer", 15),
    ("triage.index.reviews:RedisReviews.finish", 15),
)
STEPS = tuple(
    _step(place, when, call) for place, call in (*PREDICTION_STEPS, *VERDICT_STEPS) for when in ("before", "after")
)
FAULTS: tuple[Fault, ...] = (
    Fault("gateway killed (SIGKILL)", gateway_killed),
    *STEPS,
    Fault("gateway stopped (SIGSTOP)", gateway_stopped),
    Fault("gateway restarted (SIGTERM)", gateway_drained),
    Fault("Redis killed and restarted", redis_killed),
    Fault("Redis wiped (FLUSHALL)", redis_wiped),
    Fault("Redis rewound", redis_rewound),
    Fault("cable to Redis cut", _cable("to_redis", "cut")),
    Fault("cable to Redis silent", _cable("to_redis", "silent")),
    Fault("model killed", model_killed),
    Fault("model stopped (SIGSTOP)", model_stopped),
    Fault("model slow (3 s)", model_slow),
    Fault("cable to the model cut", _cable("to_model", "cut")),
    Fault("cable to the model silent", _cable("to_model", "silent")),
    Fault("journal's disk full", disk_full, settings={"journal": "{small}"}),
    Fault(
        "EIO from fdatasync",
        _while_there("eio"),
        {0: {"fail": "os:fdatasync", "errno": "EIO", "while": "{faults}/eio"}},
    ),
    Fault("clock jumps an hour ahead", _while_there("clock", "3600"), {0: {"clock": "{faults}/clock"}}),
    Fault("clock jumps an hour back", _while_there("clock", "-3600"), {0: {"clock": "{faults}/clock"}}),
)
