"""The gateway in front of TorchServe against the same TorchServe called directly: `tests.benchmarks.gateway`, as a row here.

python -m tests.benchmarks.service.direct
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks import gateway, networks
from tests.benchmarks.serving import environment


def run(
    data: Path = Path("build/bench"), pairs: int = gateway.PAIRS, seconds: float = gateway.SECONDS
) -> dict[str, Any]:
    """The measure; prints one JSON line."""
    found = {"clients": gateway.measure(networks.bundle(data), pairs, seconds)}
    print(json.dumps({"measure": "direct", **found, **environment()}))
    return found


def rows(found: dict[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Lines of the table: measure, found, must reach, reached."""
    most, one = found["clients"][str(max(gateway.CLIENTS))], found["clients"]["1"]
    pairs = f"pairs {most['ratios'][0]:.2f}-{most['ratios'][-1]:.2f}"
    yield (
        f"gateway + TorchServe against TorchServe, images/s at {max(gateway.CLIENTS)} clients",
        f"{most['ratio']:.2f} ({pairs}; by processor time {most['processor_ratio']:.2f}, "
        f"{most['gateway_processor_ms']:.2f} ms an image)",
        f">= {gateway.TARGET_RATIO:.2f}",
        most["ratio"] >= gateway.TARGET_RATIO,
    )
    yield (
        "the same, added p50 at 1 client",
        f"{one['added_p50_ms']:.1f} ms (on {one['direct_p50_ms']:.1f} ms)",
        f"<= {gateway.TARGET_ADDED_MS:g} ms",
        one["added_p50_ms"] <= gateway.TARGET_ADDED_MS,
    )


if __name__ == "__main__":
    raise SystemExit(0 if all(reached for *_, reached in rows(run())) else 1)
