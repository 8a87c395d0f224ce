"""The gateway alone: a classifier that takes no time, 64 clients, images of 100 KB, and one core for the gateway.

    python -m tests.benchmarks.service.noop

Blobs, journal, queue, views and metrics are on. The gateway has one core to itself; clients, classifier and Valkey share the
other.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from embedded.declare import go_live
from embedded.ports import free_ports
from embedded.process import Process
from embedded.stack import Gateway, Valkey
from model_store.bundle import Bundle
from model_store.prediction import Prediction, encode
from tests.benchmarks import networks
from tests.benchmarks.gateway import processor_seconds
from tests.benchmarks.service import load
from tests.benchmarks.serving import environment

CLIENTS = 64
BODY_BYTES = 100_000
SECONDS, WARM_UP_SECONDS, ROUNDS = 6.0, 3.0, 5
TARGET, AIM = 700, 1_000


def bodies() -> list[bytes]:
    """The benchmark's JPEGs, each filled behind its end to 100 KB: as many bytes to move, to hash and to store."""
    return [image + bytes(BODY_BYTES - 8 - len(image)) for image in networks.jpegs(32)]


def answer(bundle: Bundle) -> bytes:
    """One valid reply of this bundle's handler, of which nothing fires."""
    heads, width = len(bundle.manifest.heads), bundle.manifest.embedding
    scores = np.linspace(0.02, 0.4, heads, dtype=np.float32)
    graph = bundle.manifest.graph_digest
    return encode(
        Prediction(graph, "cpu", "fp32", scores, np.float32(0.8), np.linspace(0, 1, width).astype(np.float16), 1.7, 4.2)
    )


def measure(bundle: Bundle, rounds: int, seconds: float) -> dict[str, Any]:
    """Predictions per second of each round, latency, and processor milliseconds of each part per prediction."""
    images = bodies()
    rates: list[float] = []
    took: list[float] = []
    whole = os.sched_getaffinity(0)
    own, rest = {min(whole)}, whole - {min(whole)} or whole
    os.sched_setaffinity(0, rest)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as started:
            data = Path(folder)
            (data / "models").symlink_to(bundle.folder.parents[1].resolve())
            (data / "reply").write_bytes(answer(bundle))
            (port,) = free_ports(1)
            command = [sys.executable, "-m", "tests.benchmarks.service.noop_server", str(port), str(data / "reply")]
            model = Process("noop", command, data / "noop.log")
            started.callback(model.stop)
            model.wait_until(lambda: _listens(port), 20)
            valkey = Valkey(data / "valkey")
            started.callback(valkey.process.stop)
            gateway = Gateway(data, valkey.url, {"torchserve_url": f"http://127.0.0.1:{port}", "node": "bench"})
            started.callback(gateway.process.stop)
            parts = {"gateway": gateway.process.pid, "valkey": valkey.process.pid, "classifier": model.pid}
            _pin(gateway.process.pid, own)
            go_live(gateway.url, bundle, None)
            url = f"{gateway.url}/v1/predictions"
            load.sent(url, images, WARM_UP_SECONDS, CLIENTS)
            before = {part: processor_seconds(pid) for part, pid in parts.items()}
            ours = sum(os.times()[:2])
            for _ in range(rounds):
                found = load.sent(url, images, seconds, CLIENTS)
                rates.append(len(found) / seconds)
                took += found
            spent = {part: processor_seconds(pid) - before[part] for part, pid in parts.items()}
            spent["clients"] = sum(os.times()[:2]) - ours
    finally:
        os.sched_setaffinity(0, whole)
    milliseconds = sorted(1e3 * each for each in took)
    return {
        "clients": CLIENTS,
        "body_bytes": BODY_BYTES,
        "predictions": len(took),
        "per_s": round(statistics.median(rates), 1),
        "rounds_per_s": [round(rate, 1) for rate in sorted(rates)],
        "p50_ms": round(milliseconds[len(took) // 2], 2),
        "p99_ms": round(milliseconds[len(took) * 99 // 100], 2),
        **{f"{part}_processor_ms": round(1e3 * seconds / len(took), 3) for part, seconds in spent.items()},
    }


def _pin(pid: int, cores: set[int]) -> None:
    """Every thread of a process to these cores, and those that it will start."""
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), cores)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run(data: Path = Path("build/bench"), rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, Any]:
    found = measure(networks.bundle(data), rounds, seconds)
    print(json.dumps({"measure": "noop", **found, **environment()}))
    return found


def rows(found: dict[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Lines of the table: measure, found, must reach, reached."""
    yield (
        f"gateway on one core, no-op classifier, {found['clients']} clients, {found['body_bytes'] // 1000} KB",
        f"{found['per_s']:.0f}/s (processor {found['gateway_processor_ms']:.2f} ms each)",
        f">= {TARGET}/s (aim {AIM})",
        found["per_s"] >= TARGET,
    )


def main() -> None:
    """Prints one JSON line; the exit code is 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/bench"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    given = parser.parse_args()
    found = run(given.data, given.rounds, given.seconds)
    raise SystemExit(0 if found["per_s"] >= TARGET else 1)


if __name__ == "__main__":
    main()
