"""A queue in which a million images wait, and 16 reviewers who lease and answer one after another.

    python -m tests.benchmarks.service.waiting

At the desk: the gateway's own parts in a process, and no reviewer ever pauses. Over HTTP: a running gateway, and each looks at
an image for a tenth of a second on average, several times faster than anybody can; without a pause 16 callers of one core would
only measure how many requests it serves. Journal, leases, fencing, outcomes and views are on. Reviewers, gateway and Valkey
share the cores.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop
from redis import Redis

from embedded.declare import go_live
from embedded.stack import Gateway, Valkey
from model_store.bundle import Bundle
from tests.benchmarks import networks
from tests.benchmarks.gateway import processor_seconds
from tests.benchmarks.service import written
from tests.benchmarks.serving import environment
from triage.app import create_app
from triage.control.catalog import Catalog
from triage.index.fold import Index
from triage.index.reviews import RedisReviews
from triage.parts import Parts
from triage.settings import Settings

ITEMS, REVIEWERS, SECONDS, WARM_UP_SECONDS, PAUSE_S = 1_000_000, 16, 10.0, 3.0, 0.1
TARGET_LEASE_MS, TARGET_VERDICT_MS, TARGET_BYTES = 5.0, 15.0, 1024
SETTLES_S = 120.0
QUEUE = "default.review"
_AT_ONCE = 512


class _Talk:
    """One kept connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The reply's JSON. Raises RuntimeError for any status but 200."""
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
        self._writer.write(head.encode() + b"\r\n\r\n" + content)
        said = await self._reader.readuntil(b"\r\n\r\n")
        length = int(said.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        reply = await self._reader.readexactly(length)
        if not said.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(reply.decode())
        found: dict[str, Any] = json.loads(reply)
        return found


async def _fill(url: str, bundle: Bundle, data: Path, rules: str, items: int) -> None:
    """As the gateway puts them there: each waiting image with its view."""
    reviews = RedisReviews(url, 30.0)
    index = Index(reviews, Catalog(data), 5, 86_400)
    records = written.predictions(bundle, items, rules)
    while batch := list(itertools.islice(records, _AT_ONCE)):
        await asyncio.gather(*(index.apply(record) for record in batch))
    await reviews.close()


@dataclass
class _Took:
    """Seconds of every lease and of every verdict."""

    leases: list[float] = field(default_factory=list)
    verdicts: list[float] = field(default_factory=list)

    def told(self, seconds: float) -> dict[str, float]:
        rate = round(len(self.verdicts) / seconds, 1)
        return {"answers_per_s": rate, **_latency("lease", self.leases), **_latency("verdict", self.verdicts)}


async def _http(url: str, label: str, seconds: float) -> _Took:
    place = urlsplit(url)
    took, end = _Took(), time.perf_counter() + seconds

    async def reviewer(number: int) -> None:
        talk = _Talk(*await asyncio.open_connection(place.hostname, place.port))
        looks = random.Random(
            number
        )  # people do not look equally long; if they did, all would soon ask at the same moment
        await asyncio.sleep(looks.uniform(0, PAUSE_S))
        while (begun := time.perf_counter()) < end:
            found = await talk.post(f"/v1/queues/{QUEUE}/leases", {"reviewer": f"reviewer-{number}", "count": 1})
            took.leases.append(time.perf_counter() - begun)
            await asyncio.sleep(looks.uniform(0, 2 * PAUSE_S))
            begun = time.perf_counter()
            await talk.post(f"/v1/leases/{found['items'][0]['token']}/verdict", {"answers": {label: "present"}})
            took.verdicts.append(time.perf_counter() - begun)

    await asyncio.gather(*map(reviewer, range(REVIEWERS)))
    return took


async def _desk(data: Path, url: str, label: str, seconds: float) -> dict[str, float]:
    """In this process, with everything that a gateway runs in the background."""
    app = create_app(Settings(data=data, redis_url=url, classifier="inprocess", node="desk"))
    async with app.router.lifespan_context(app):
        parts: Parts = app.state.parts

        async def reviewer(name: str, took: _Took, end: float) -> None:
            while (begun := time.perf_counter()) < end:
                (lease,) = await parts.desk.lease(QUEUE, name, 1, None)
                leased = time.perf_counter()
                await parts.answering.answer(lease.token, "labels", {label: "present"}, None, "")
                took.leases.append(leased - begun)
                took.verdicts.append(time.perf_counter() - leased)

        async def all_of_them(length: float) -> _Took:
            took, end = _Took(), time.perf_counter() + length
            await asyncio.gather(*(reviewer(f"reviewer-{number}", took, end) for number in range(REVIEWERS)))
            return took

        await all_of_them(WARM_UP_SECONDS)
        before = time.process_time()
        took = await all_of_them(seconds)
        spent = time.process_time() - before
    return {**took.told(seconds), "processor_ms": round(1e3 * spent / len(took.verdicts), 3)}


def _settled(redis: Redis) -> None:
    """Returns when Valkey does not write its files anew any more, as it does for minutes when a million items came at once."""
    ends = time.monotonic() + SETTLES_S
    while any(redis.info("persistence")[name] for name in ("aof_rewrite_in_progress", "rdb_bgsave_in_progress")):
        if time.monotonic() > ends:
            raise RuntimeError(f"Valkey still rewrites its files after {SETTLES_S:g} s")
        time.sleep(0.2)


def measure(bundle: Bundle, items: int, seconds: float) -> dict[str, Any]:
    """Memory of an item, latencies of leases and verdicts in ms, and processor ms of one lease and its verdict together."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = Path(folder)
        (data / "models").symlink_to(bundle.folder.parents[1].resolve())
        valkey = Valkey(data / "valkey")
        label = bundle.manifest.heads[0]
        try:
            gateway = Gateway(data, valkey.url, {"classifier": "inprocess", "node": "bench"})
            try:
                go_live(gateway.url, bundle, None)
                rules = next((data / "rules").rglob("*.json")).stem
                with Redis.from_url(valkey.url) as redis:
                    empty = int(redis.info("memory")["used_memory"])
                    began = time.perf_counter()
                    uvloop.run(_fill(valkey.url, bundle, data, f"sha256:{rules.removeprefix('sha256-')}", items))
                    filled = time.perf_counter() - began
                    full = int(redis.info("memory")["used_memory"])
                    _settled(redis)
                uvloop.run(_http(gateway.url, label, WARM_UP_SECONDS))
                before = processor_seconds(gateway.process.pid)
                took = uvloop.run(_http(gateway.url, label, seconds))
                spent = processor_seconds(gateway.process.pid) - before
            finally:
                gateway.process.stop()
            command = [sys.executable, "-m", "tests.benchmarks.service.waiting", "--in", str(data), valkey.url, label]
            finished = subprocess.run([*command, f"--seconds={seconds}"], stdout=subprocess.PIPE, check=True)
        finally:
            valkey.process.stop()
    return {
        "items": items,
        "reviewers": REVIEWERS,
        "fill_per_s": round(items / filled),
        "bytes_an_item": round((full - empty) / items),
        "desk": json.loads(finished.stdout.decode().strip().splitlines()[-1]),
        "http": {**took.told(seconds), "processor_ms": round(1e3 * spent / len(took.verdicts), 3), "pause_s": PAUSE_S},
    }


def _latency(name: str, took: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(took, n=100)
    return {f"{name}_p50_ms": round(1e3 * cuts[49], 2), f"{name}_p99_ms": round(1e3 * cuts[98], 2)}


def run(data: Path = Path("build/bench"), items: int = ITEMS, seconds: float = SECONDS) -> dict[str, Any]:
    """The measure; prints one JSON line."""
    found = measure(networks.bundle(data), items, seconds)
    print(json.dumps({"measure": "waiting", **found, **environment()}))
    return found


def rows(found: dict[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Lines of the table: measure, found, must reach, reached."""
    what = f"{found['items']:,} items wait, {found['reviewers']} reviewers"
    for where, how in (("desk", "at the desk without a pause"), ("http", f"over HTTP, {PAUSE_S:g} s an image")):
        part = found[where]
        cost = f"{part['answers_per_s']:.0f} answers/s, processor {part['processor_ms']:.2f} ms a lease and verdict"
        for name, most in (("lease", TARGET_LEASE_MS), ("verdict", TARGET_VERDICT_MS)):
            p99 = part[f"{name}_p99_ms"]
            yield f"{what} {how}: {name} p99", f"{p99:.1f} ms ({cost})", f"<= {most:g} ms", p99 <= most
    taken = found["bytes_an_item"]
    yield "the same: Redis memory an item, view included", f"{taken} bytes", f"<= {TARGET_BYTES}", taken <= TARGET_BYTES


def main() -> None:
    """Prints one JSON line; the exit code is 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/bench"))
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--in", dest="inside", nargs=3, metavar=("DATA", "REDIS", "LABEL"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        data, url, label = given.inside
        print(json.dumps(uvloop.run(_desk(Path(data), url, label, given.seconds))))
        return
    reached = all(done for *_, done in rows(run(given.data, given.items, given.seconds)))
    raise SystemExit(0 if reached else 1)


if __name__ == "__main__":
    main()
