"""What is done to a running world, and how it is mended."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from model_store.record import PredictionRecord
from tests.faults.fault import Act
from tests.faults.proxy import State
from tests.faults.world import World
from triage.journal.segments import nodes, read

_DIES_S = 45.0
REPLACEMENT = "three"


async def _thread(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)


async def gateway_killed(world: World, seconds: float) -> None:
    world.gateways[0].process.kill()
    await asyncio.sleep(seconds)
    await _thread(world.gateways[0].start)


async def died_at(world: World, seconds: float) -> None:
    """Arms the gateway that was born to die, waits until it did, and starts it again."""
    (world.faults / "armed").touch()
    try:
        async with asyncio.timeout(_DIES_S):
            while world.gateways[0].process.running:  # noqa: ASYNC110  # a process tells nobody that it ended
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"nothing came by where the gateway was to die, in {_DIES_S:.0f} s") from None
    await asyncio.sleep(seconds)
    await _thread(world.gateways[0].restart)


async def gateway_stopped(world: World, seconds: float) -> None:
    world.gateways[0].signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    world.gateways[0].signal(signal.SIGCONT)


async def gateway_drained(world: World, seconds: float) -> None:
    await _thread(world.gateways[0].process.stop)
    await _thread(world.gateways[0].start)


async def machine_lost(world: World, seconds: float) -> None:
    """Gateway and model die while Redis is away, so that what was acknowledged meanwhile is in one journal only. That disk is
    put into another machine, where `recover` reads it, and a new machine takes the place."""
    kept = world.folder.parent / "kept"
    world.to_redis.become("cut")
    await asyncio.sleep(seconds / 2)
    world.gateways[0].process.kill()
    world.models[0].process.kill()
    kept.mkdir()
    (world.journal / world.gateways[0].node).rename(kept / world.gateways[0].node)
    world.kept.append(kept)
    world.to_redis.become("whole")
    await asyncio.sleep(seconds / 2)
    assert await _thread(lambda: _only_there(kept, world.urls[1])), "the lost journal held nothing that Redis had not"
    command = [sys.executable, "-m", "secondreader", "recover", "--json", "--journal", str(kept), "--data", str(world.folder),
               "--redis-url", world.valkey.url]  # fmt: skip
    done = await _thread(lambda: subprocess.run(command, capture_output=True, text=True, check=False))
    assert done.returncode == 0, done.stderr
    await _thread(world.models[0].start)
    await _thread(lambda: world.gateways[0].replace(REPLACEMENT))


def _only_there(journal: Path, url: str) -> bool:
    """Whether some prediction of this journal is not found at a gateway."""
    records = [record for node in nodes(journal) for _, record in read(node)]
    with httpx.Client(trust_env=False, timeout=30) as http:
        return any(
            http.get(f"{url}/v1/predictions/{record.id}").status_code == 404
            for record in reversed(records)
            if isinstance(record, PredictionRecord)
        )


async def redis_killed(world: World, seconds: float) -> None:
    world.valkey.process.kill()
    await asyncio.sleep(seconds)
    await _thread(world.valkey.start)


async def redis_stopped(world: World, seconds: float) -> None:
    world.valkey.process.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    world.valkey.process.signal(signal.SIGCONT)


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


def cables(state: State, *which: str, most: float = 1e9) -> Act:
    """Those to `redis`, to the `model` or both; for `most` seconds at most."""

    async def act(world: World, seconds: float) -> None:
        pulled = [world.to_redis] if "redis" in which else []
        pulled += [model.cable for model in world.models] if "model" in which else []
        for proxy in pulled:
            proxy.become(state)
        await asyncio.sleep(min(seconds, most))
        for proxy in pulled:
            proxy.become("whole")

    return act


async def model_killed(world: World, seconds: float) -> None:
    world.models[0].process.kill()
    await asyncio.sleep(seconds)
    await _thread(world.models[0].start)


async def model_stopped(world: World, seconds: float) -> None:
    world.models[0].process.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    world.models[0].process.signal(signal.SIGCONT)


async def model_slow(world: World, seconds: float) -> None:
    world.models[0].delay.write_text("3")
    await asyncio.sleep(seconds)
    world.models[0].delay.unlink()


async def documents_away(world: World, seconds: float) -> None:
    folder = world.folder / "control"
    folder.rename(world.folder / "away")
    await asyncio.sleep(seconds)
    (world.folder / "away").rename(folder)


def while_there(name: str, text: str = "", restart: bool = False) -> Act:
    """The launcher's fault holds while this file is there. With `restart` a supervisor starts the gateway anew after it."""

    async def act(world: World, seconds: float) -> None:
        path = world.faults / name
        path.write_text(text)
        await asyncio.sleep(seconds)
        path.unlink()
        if restart:
            await _thread(world.gateways[0].restart)

    return act


async def journal_disk_full(world: World, seconds: float) -> None:
    """The rest of the small disk is filled, and emptied again; the gateways, whose journals broke, are started anew."""
    await _fill(world.journal / "filler", seconds)
    for gateway in world.gateways:
        await _thread(gateway.restart)


async def blob_disk_full(world: World, seconds: float) -> None:
    await _fill(world.blobs / "filler", seconds)


async def _fill(path: Path, seconds: float) -> None:
    await _thread(lambda: _fill_up(path))
    await asyncio.sleep(seconds)
    await _thread(path.unlink)


def _fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while stream.write(b"\0" * size):
                    pass
            except OSError:
                continue
