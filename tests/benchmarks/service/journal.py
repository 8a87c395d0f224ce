"""The journal alone: 64 writers, each of which waits until its prediction is on the disk.

python -m tests.benchmarks.service.journal
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from model_store import record as codec
from model_store.bundle import Bundle
from model_store.record import Record
from tests.benchmarks import networks
from tests.benchmarks.service import written
from tests.benchmarks.serving import environment
from triage.journal.segments import SegmentJournal

WRITERS, SECONDS, WARM_UP_SECONDS = 64, 6.0, 1.0
TARGET = 5_000
SEGMENT_BYTES = 64 * 2**20


async def _write(journal: SegmentJournal, records: Iterator[Record], seconds: float) -> list[float]:
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def writer() -> None:
        while (begun := time.perf_counter()) < end:
            await journal.append(next(records))
            took.append(time.perf_counter() - begun)

    await asyncio.gather(*(writer() for _ in range(WRITERS)))
    return took


def measure(bundle: Bundle, seconds: float) -> dict[str, Any]:
    """Records per second, how many shared a sync, latency, and processor milliseconds per record."""
    records = list(written.predictions(bundle, 5_000, "sha256:" + "0" * 64))
    again = itertools.cycle(records)
    syncs: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        journal = SegmentJournal(Path(folder), "bench", SEGMENT_BYTES, syncs.append)
        journal.start()
        uvloop.run(_write(journal, again, WARM_UP_SECONDS))
        syncs.clear()
        spent = time.process_time()
        took = sorted(uvloop.run(_write(journal, again, seconds)))
        spent = time.process_time() - spent
        journal.close()
    return {
        "writers": WRITERS,
        "record_bytes": len(codec.encode(records[0])),
        "records": len(took),
        "per_s": round(len(took) / seconds),
        "records_a_sync": round(len(took) / len(syncs), 1),
        "sync_p50_ms": round(1e3 * sorted(syncs)[len(syncs) // 2], 3),
        "p50_ms": round(1e3 * took[len(took) // 2], 2),
        "p99_ms": round(1e3 * took[len(took) * 99 // 100], 2),
        "processor_ms": round(1e3 * spent / len(took), 4),
    }


def run(data: Path = Path("build/bench"), seconds: float = SECONDS) -> dict[str, Any]:
    """The measure; prints one JSON line."""
    found = measure(networks.bundle(data), seconds)
    print(json.dumps({"measure": "journal", **found, **environment()}))
    return found


def rows(found: dict[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Lines of the table: measure, found, must reach, reached."""
    yield (
        f"journal, {found['writers']} writers, fsynced, records of {found['record_bytes'] / 1e3:.1f} KB",
        f"{found['per_s']:,} records/s, p99 {found['p99_ms']:.1f} ms (processor {found['processor_ms']:.3f} ms each)",
        f">= {TARGET:,}/s",
        found["per_s"] >= TARGET,
    )


def main() -> None:
    """Prints one JSON line; the exit code is 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/bench"))
    parser.add_argument("--seconds", type=float, default=SECONDS)
    given = parser.parse_args()
    raise SystemExit(0 if run(given.data, given.seconds)["per_s"] >= TARGET else 1)


if __name__ == "__main__":
    main()
