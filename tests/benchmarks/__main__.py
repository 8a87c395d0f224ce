"""`make bench`: every measure of the project, pairs in one run, as one table; the raw lines go to docs/benchmarks/.

python -m tests.benchmarks            the table
python -m tests.benchmarks --save     and keep it as docs/benchmarks/main.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.benchmarks import gateway, memory, serving
from tests.benchmarks.table import Row, show, today

RESULTS = Path("docs/benchmarks/main.json")
DEMO_SECONDS = 240


def run(module: str) -> dict[str, Any]:
    """The JSON line that a benchmark printed, from a process of its own."""
    finished = subprocess.run([sys.executable, "-m", module], stdout=subprocess.PIPE, check=False)
    line = finished.stdout.decode().strip().splitlines()[-1]
    found: dict[str, Any] = json.loads(line)
    return found


def demo() -> dict[str, Any]:
    """Seconds of `demo --once` on the installed project, as a newcomer waits for them."""
    started = time.perf_counter()
    command = [sys.executable, "secondreader.py", "demo", "--once", "--folder", "build/bench-demo"]
    finished = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    return {"measure": "demo", "seconds": round(time.perf_counter() - started, 1), "exit": finished.returncode}


def rows(found: dict[str, dict[str, Any]]) -> list[Row]:
    most, one = found["gateway"]["clients"]["16"], found["gateway"]["clients"]["1"]
    kept = found["memory"]
    flat = kept["growth_second_half_mib"] <= memory.MOST_GROWTH_MIB and kept["most_mib"] <= memory.MOST_MIB
    return [
        (
            "gateway + TorchServe against TorchServe, images/s at 16 clients",
            f"{most['ratio']:.2f} ({most['gateway_images_per_s']} against {most['direct_images_per_s']})",
            f">= {gateway.TARGET_RATIO}",
            most["ratio"] >= gateway.TARGET_RATIO,
        ),
        (
            "the same, added p50 at 1 client",
            f"{one['added_p50_ms']:.1f} ms (on {one['direct_p50_ms']:.1f} ms)",
            f"<= {gateway.TARGET_ADDED_MS:g} ms",
            one["added_p50_ms"] <= gateway.TARGET_ADDED_MS,
        ),
        (
            "TorchServe + handler against a bare ONNX Runtime loop",
            f"{found['serving']['ratio']:.2f}, by processor time {found['serving']['processor_ratio']:.2f}",
            f">= {serving.TARGET}",
            found["serving"]["ratio"] >= serving.TARGET,
        ),
        (
            "make demo ARGS=--once",
            f"{found['demo']['seconds']:.0f} s",
            f"<= {DEMO_SECONDS} s",
            found["demo"]["seconds"] <= DEMO_SECONDS and found["demo"]["exit"] == 0,
        ),
        (
            f"gateway memory over {kept['predictions']:,} predictions",
            f"{kept['most_mib']:.0f} MiB, second half {kept['growth_second_half_mib']:+.1f} MiB",
            f"flat, <= {memory.MOST_MIB:g} MiB",
            flat,
        ),
    ]


def main() -> None:
    """Prints the table; the exit code is 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true")
    save = parser.parse_args().save
    found = {
        "serving": run("tests.benchmarks.serving"),
        "gateway": run("tests.benchmarks.gateway"),
        "memory": run("tests.benchmarks.memory"),
        "demo": demo(),
    }
    all_reached = show(rows(found), width=120)
    if save:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps({"date": today(), **found}, indent=1) + "\n")
    raise SystemExit(not all_reached)


if __name__ == "__main__":
    main()
