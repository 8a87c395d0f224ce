"""Recovery: the index made again from a journal of a million predictions, of which 100,000 wait for a person.

    python -m tests.benchmarks.service.recovery

Redis is empty, as after a loss. `recover` runs in a process of its own; to its highest resident memory those of its helpers are
added, each as if it were the largest of them.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from embedded.declare import go_live
from embedded.stack import Gateway, Valkey
from model_store.bundle import Bundle
from tests.benchmarks import networks
from tests.benchmarks.service import written
from tests.benchmarks.serving import environment
from triage.journal.segments import SegmentJournal
from triage.recovery import shares
from triage.recovery.recover import recover
from triage.settings import Settings

PREDICTIONS, REVIEW_EVERY = 1_000_000, 10
TARGET_SECONDS, TARGET_MB = 120.0, 500.0
SEGMENT_BYTES = 64 * 2**20
_AT_ONCE = 1024


async def _journal(folder: Path, bundle: Bundle, rules: str, predictions: int) -> None:
    journal = SegmentJournal(folder, "lost", SEGMENT_BYTES, lambda seconds: None)
    journal.start()
    records = written.predictions(bundle, predictions, rules, REVIEW_EVERY)
    while batch := list(itertools.islice(records, _AT_ONCE)):
        await asyncio.gather(*(journal.append(record) for record in batch))
    journal.close()


def recovered(data: Path, url: str) -> dict[str, Any]:
    """In this process: what `recover` found, its seconds, and the highest resident memory in MB."""
    settings = Settings(data=data, redis_url=url, redis_timeout_s=30, node="bench")
    began, worked = time.perf_counter(), sum(os.times()[:4])
    found = asyncio.run(recover(settings))
    return {
        **found,
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(sum(os.times()[:4]) - worked, 1),
        "peak_mb": round(_peak_mb(resource.RUSAGE_SELF) + shares.MOST * _peak_mb(resource.RUSAGE_CHILDREN)),
    }


def _peak_mb(who: int) -> float:
    """Of the largest process, where they are several."""
    return resource.getrusage(who).ru_maxrss * 1024 / 1e6


def measure(bundle: Bundle, predictions: int) -> dict[str, Any]:
    """Seconds and memory of `recover`, and what it says that it found."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = Path(folder)
        (data / "models").symlink_to(bundle.folder.parents[1].resolve())
        valkey = Valkey(data / "valkey")
        try:
            gateway = Gateway(data, valkey.url, {"classifier": "inprocess", "node": "bench"})
            go_live(gateway.url, bundle, None)
            gateway.process.stop()
            rules = next((data / "rules").rglob("*.json")).stem
            uvloop.run(_journal(data / "journal", bundle, f"sha256:{rules.removeprefix('sha256-')}", predictions))
            taken = sum(path.stat().st_size for path in (data / "journal").rglob("*.seg"))
            command = [sys.executable, "-m", "tests.benchmarks.service.recovery", "--in", str(data), valkey.url]
            finished = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        finally:
            valkey.process.stop()
    return {
        "predictions": predictions,
        "journal_mb": round(taken / 1e6),
        **json.loads(finished.stdout.decode().strip().splitlines()[-1]),
    }


def run(data: Path = Path("build/bench"), predictions: int = PREDICTIONS) -> dict[str, Any]:
    """The measure; prints one JSON line."""
    found = measure(networks.bundle(data), predictions)
    print(json.dumps({"measure": "recovery", **found, **environment()}))
    return found


def rows(found: dict[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Lines of the table: measure, found, must reach, reached."""
    waiting, wanted = found["waiting"], found["predictions"] // REVIEW_EVERY
    yield (
        f"recover {found['predictions']:,} journaled predictions, {wanted:,} of them open",
        f"{found['seconds']:.0f} s (processor {found['processor_seconds']:.0f} s), {found['peak_mb']} MB, {waiting:,} wait",
        f"<= {TARGET_SECONDS:g} s, {TARGET_MB:g} MB, none lost",
        found["seconds"] <= TARGET_SECONDS and found["peak_mb"] <= TARGET_MB and waiting == wanted,
    )


def main() -> None:
    """Prints one JSON line; the exit code is 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/bench"))
    parser.add_argument("--predictions", type=int, default=PREDICTIONS)
    parser.add_argument("--in", dest="inside", nargs=2, metavar=("DATA", "REDIS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        print(json.dumps(recovered(Path(given.inside[0]), given.inside[1])))
        return
    reached = all(done for *_, done in rows(run(given.data, given.predictions)))
    raise SystemExit(0 if reached else 1)


if __name__ == "__main__":
    main()
