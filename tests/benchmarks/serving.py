"""TorchServe with our handler against a bare in-process ONNX Runtime loop: same images, same decode, same cores.

    python -m tests.benchmarks.serving

Each pair runs the loop and then the server, so that a slow minute of the machine slows both. The client runs on the
same cores and is paid for by the server's side.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import itertools
import json
import multiprocessing
import os
import platform
import statistics
import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import aiohttp

from handlers.server import TorchServe
from handlers.serving import Serving, cores
from model_store import bundle as bundles
from model_store.bundle import Bundle
from model_store.engine import Engine
from tests.benchmarks import networks

PAIRS = 5
SECONDS = 8.0
WARM_UP_SECONDS = 3.0
CLIENTS = 16
IMAGES = 32
TARGET = 0.80
_serial = itertools.count()


def bare_rate(bundle: Bundle, images: list[bytes], seconds: float, serving: Serving) -> tuple[float, float]:
    """Images/s and processor seconds per image of as many loops as the server has workers, with nothing in between."""
    context = multiprocessing.get_context("spawn")
    start, counts = context.Barrier(serving.workers), context.Queue()
    arguments = (bundle.folder, images, seconds, serving.threads, start, counts)
    loops = [context.Process(target=_loop, args=arguments) for _ in range(serving.workers)]
    for loop in loops:
        loop.start()
    results = [counts.get(timeout=60 + seconds) for _ in loops]
    for loop in loops:
        loop.join()
    done = sum(count for count, _ in results)
    return done / seconds, sum(spent for _, spent in results) / done


def _loop(
    folder: Path, images: list[bytes], seconds: float, threads: int, start: Barrier, counts: Queue[tuple[int, float]]
) -> None:
    engine = Engine.open(bundles.open(folder), threads=threads)
    engine.predict(images[:8])
    start.wait()
    spent, end, done = time.process_time(), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        engine.predict([images[done % len(images)]])
        done += 1
    counts.put((done, time.process_time() - spent))


async def served(url: str, images: list[bytes], seconds: float, clients: int, most: int | None = None) -> list[float]:
    """Seconds of each request that `clients` clients made in that time, one after another; any reply but 200 raises.

    Every body is another one: a number stands behind the JPEG's end, so that no store has seen it before. `most` ends it
    after so many requests.
    """
    took: list[float] = []

    async def client(session: aiohttp.ClientSession, index: int, end: float) -> None:
        while (begun := time.perf_counter()) < end and (most is None or len(took) < most):
            number = next(_serial)
            body = images[(index + number) % len(images)] + number.to_bytes(8, "big")
            async with session.post(url, data=body, headers={"Content-Type": "application/octet-stream"}) as reply:
                await reply.read()
                reply.raise_for_status()
            took.append(time.perf_counter() - begun)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        end = time.perf_counter() + seconds
        await asyncio.gather(*(client(session, index, end) for index in range(clients)))
    return took


def measure(bundle: Bundle, serving: Serving, pairs: int, seconds: float, clients: int) -> dict[str, object]:
    """Paired rates, their ratios, and the server's latency at this many clients and at one.

    `processor_ms` is what an image costs in processor time, client included. On a machine that others use too, the rates
    say who was given the cores (a server has more threads to ask for them with), and only `processor_ratio` can be read.
    """
    images = networks.jpegs(IMAGES)
    loop_rates, loop_costs, rates, costs, busy = [], [], [], [], list[float]()
    with TorchServe(bundle, serving) as server:
        asyncio.run(served(server.url, images, WARM_UP_SECONDS, clients))
        alone = asyncio.run(served(server.url, images, WARM_UP_SECONDS, 1))
        for _ in range(pairs):
            rate, cost = bare_rate(bundle, images, seconds, serving)
            loop_rates.append(rate)
            loop_costs.append(cost)
            before = server.processor_seconds() + time.process_time()
            took = asyncio.run(served(server.url, images, seconds, clients))
            costs.append((server.processor_seconds() + time.process_time() - before) / len(took))
            rates.append(len(took) / seconds)
            busy += took
    ratios = [rate / loop for rate, loop in zip(rates, loop_rates, strict=True)]
    return {
        "serving": serving.model_dump(),
        "clients": clients,
        "bare_images_per_s": round(statistics.median(loop_rates), 1),
        "server_images_per_s": round(statistics.median(rates), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in sorted(ratios)],
        "processor_ratio": round(statistics.median(loop_costs) / statistics.median(costs), 3),
        "bare_processor_ms": round(1e3 * statistics.median(loop_costs), 2),
        "server_processor_ms": round(1e3 * statistics.median(costs), 2),
        "p50_ms": round(1e3 * statistics.median(busy), 2),
        "p50_ms_one_client": round(1e3 * statistics.median(alone), 2),
    }


def environment() -> dict[str, object]:
    """The machine and the versions that a figure holds for."""
    packages = ("onnxruntime", "torchserve", "torch", "pillow", "numpy")
    model = next(
        (line.split(":")[1].strip() for line in _cpu_info() if line.startswith("model name")), platform.machine()
    )
    return {
        "cpu": model,
        "cores": cores(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    """Prints one JSON line; the exit code is 1 when either ratio misses the target."""
    chosen = Serving.for_machine()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/bench"))
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    for name, value in chosen.model_dump().items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(value), default=value)
    given = vars(parser.parse_args())
    serving = Serving.checked(**{name: given[name] for name in Serving.model_fields})
    result = measure(networks.bundle(given["data"]), serving, given["pairs"], given["seconds"], given["clients"])
    print(json.dumps({"benchmark": "serving", **result, **environment()}), flush=True)
    reached = all(float(str(result[name])) >= TARGET for name in ("ratio", "processor_ratio"))
    raise SystemExit(0 if reached else 1)


if __name__ == "__main__":
    main()
