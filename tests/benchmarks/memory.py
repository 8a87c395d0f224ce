"""The gateway's memory over many predictions: it has to stay flat.

    python -m tests.benchmarks.memory

The tiny model answers, so that the gateway is what is measured: bodies, blobs, journal, queue and views are all real.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path

import psutil

from handlers.server import TorchServe
from handlers.serving import Serving
from tests import services
from tests.benchmarks import networks
from tests.benchmarks.serving import environment, served

PREDICTIONS = 20_000
CLIENTS = 16
PARTS = 10
MOST_MIB = 300.0
MOST_GROWTH_MIB = 15.0
"""Over the second half of the run: caches and pools are full by then."""


def measure(predictions: int) -> dict[str, object]:
    """Resident memory in MiB after each tenth of the run."""
    images = networks.jpegs(64)
    resident: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = services.make_data(Path(folder))
        with (
            TorchServe(data.bundle, Serving.for_machine(workers=1)) as server,
            services.running_valkey(data.folder / "valkey") as valkey,
            services.running_gateway(
                data.folder,
                valkey.url,
                classifier="torchserve",
                torchserve_url=f"http://127.0.0.1:{server.listen.inference}",
            ) as gateway,
        ):
            process = psutil.Process(gateway.process.pid)
            for _ in range(PARTS):
                asyncio.run(served(f"{gateway.url}/v1/predictions", images, 600, CLIENTS, predictions // PARTS))
                resident.append(round(process.memory_info().rss / 2**20, 1))
    return {
        "predictions": predictions,
        "resident_mib": resident,
        "most_mib": max(resident),
        "growth_second_half_mib": round(resident[-1] - resident[PARTS // 2 - 1], 1),
    }


def main() -> None:
    """Prints one JSON line; the exit code is 1 when memory grows or is too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=PREDICTIONS)
    found = measure(parser.parse_args().predictions)
    print(json.dumps({"measure": "memory", **found, **environment()}))
    flat = float(str(found["growth_second_half_mib"])) <= MOST_GROWTH_MIB
    raise SystemExit(0 if flat and float(str(found["most_mib"])) <= MOST_MIB else 1)


if __name__ == "__main__":
    main()
