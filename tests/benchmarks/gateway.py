"""The gateway in front of TorchServe, journal and blobs on, against the same TorchServe called directly.

    python -m tests.benchmarks.gateway

Each pair sends the same images to one and then to the other. Client, gateway, Valkey and TorchServe share the cores, so the
ratio charges the gateway for every millisecond of processor it takes from the model. On a machine that others use too, the
rates say who was given the cores, and only `processor_ratio` can be read: what an image costs directly over what it costs
through the gateway, in processor time of all parts, client included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from embedded.declare import go_live
from embedded.stack import Gateway, Valkey
from handlers.server import TorchServe
from model_store.bundle import Bundle
from tests.benchmarks import networks
from tests.benchmarks.serving import environment, served

PAIRS = 5
SECONDS = 6.0
WARM_UP_SECONDS = 3.0
CLIENTS = (1, 8, 16)
IMAGES = 64
TARGET_RATIO = 0.80
TARGET_ADDED_MS = 3.0


def measure(bundle: Bundle, pairs: int, seconds: float) -> dict[str, object]:
    """Per number of clients: images/s of both, the median of the pairs' ratios, p50 of both in ms."""
    images = networks.jpegs(IMAGES)
    rows: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, TorchServe(bundle) as server:
        data = Path(folder)
        (data / "models").symlink_to(bundle.folder.parents[1].resolve())
        valkey = Valkey(data / "valkey")
        settings = {
            "torchserve_url": f"http://127.0.0.1:{server.listen.inference}", "node": "bench",
            "classifier_requests": str(server.serving.requests),
        }  # fmt: skip
        try:
            gateway = Gateway(data, valkey.url, settings)
        except BaseException:
            valkey.process.stop()
            raise
        try:
            go_live(gateway.url, bundle, None)
            through = f"{gateway.url}/v1/predictions"
            asyncio.run(served(through, images, WARM_UP_SECONDS, max(CLIENTS)))
            processes = {"gateway": gateway.process.pid, "valkey": valkey.process.pid}
            for clients in CLIENTS:
                rows[str(clients)] = _pairs(server, through, images, pairs, seconds, clients, processes)
        finally:
            gateway.process.stop()
            valkey.process.stop()
    return rows


def _pairs(
    server: TorchServe, through: str, images: list[bytes], pairs: int, seconds: float, clients: int,
    processes: dict[str, int],
) -> dict[str, object]:  # fmt: skip
    rates: dict[str, list[float]] = {"direct": [], "gateway": []}
    medians: dict[str, list[float]] = {"direct": [], "gateway": []}
    costs: dict[str, list[float]] = {"direct": [], "gateway": []}
    spent, answered = dict.fromkeys(processes, 0.0), 0
    for _ in range(pairs):
        for name, url in (("direct", server.url), ("gateway", through)):
            before = {part: processor_seconds(pid) for part, pid in processes.items()}
            rest = server.processor_seconds() + time.process_time()
            took = asyncio.run(served(url, images, seconds, clients))
            rates[name].append(len(took) / seconds)
            medians[name].append(1e3 * statistics.median(took))
            cost = server.processor_seconds() + time.process_time() - rest
            if name == "gateway":
                answered += len(took)
                for part, pid in processes.items():
                    used = processor_seconds(pid) - before[part]
                    spent[part] += used
                    cost += used
            costs[name].append(1e3 * cost / len(took))
    ratios = [ours / theirs for ours, theirs in zip(rates["gateway"], rates["direct"], strict=True)]
    added = [ours - theirs for ours, theirs in zip(medians["gateway"], medians["direct"], strict=True)]
    return {
        "direct_images_per_s": round(statistics.median(rates["direct"]), 1),
        "gateway_images_per_s": round(statistics.median(rates["gateway"]), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in sorted(ratios)],
        "processor_ratio": round(statistics.median(costs["direct"]) / statistics.median(costs["gateway"]), 3),
        "direct_processor_ms": round(statistics.median(costs["direct"]), 2),
        "direct_p50_ms": round(statistics.median(medians["direct"]), 2),
        "added_p50_ms": round(statistics.median(added), 2),
        **{f"{part}_processor_ms": round(1e3 * seconds / answered, 3) for part, seconds in spent.items()},
    }


def processor_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def main() -> None:
    """Prints one JSON line; the exit code is 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/bench"))
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    given = parser.parse_args()
    rows = measure(networks.bundle(given.data), given.pairs, given.seconds)
    print(json.dumps({"measure": "gateway", "clients": rows, **environment()}))
    most, one = rows[str(max(CLIENTS))], rows["1"]
    assert isinstance(most, dict)
    assert isinstance(one, dict)
    raise SystemExit(0 if most["ratio"] >= TARGET_RATIO and one["added_p50_ms"] <= TARGET_ADDED_MS else 1)


if __name__ == "__main__":
    main()
