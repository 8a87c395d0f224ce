"""How soon a second gateway obeys a document that the first was given: in a folder and in a bucket, told through Redis and not.

    python -m tests.benchmarks.service.following

Not told: the second gateway has another Redis, as if this one did not answer, and only looks at the store by itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.serving import environment
from tests.services import Data, make_data, raw, running_gateway, running_valkey
from tests.triage.object_store import running_s3

CHANGES = 20
TARGET_MS = 1000.0
LOOK_S = 0.002
PATH = "/v1/projects/default/switch"


def follow(data: Data, place: str, redis: tuple[str, str], changes: int) -> dict[str, float]:
    """Milliseconds from the reply to a change at one gateway until the other shows it."""
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(running_gateway(data.folder, url, node=f"node-{number}", control=place))
            for number, url in enumerate(redis)
        ]
        first, second = (stack.enter_context(raw(gateway)) for gateway in gateways)
        took = [_change(first, second, number) for number in range(changes)]
    return {"median_ms": round(statistics.median(took), 1), "max_ms": round(max(took), 1)}


def _change(first: httpx.Client, second: httpx.Client, number: int) -> float:
    now = first.get(PATH)
    condition = {"If-Match": now.headers["etag"]} if now.status_code == 200 else {"If-None-Match": "*"}
    put = first.put(PATH, json={"answering": False, "reason": f"change {number}"}, headers=condition)
    started = time.perf_counter()
    put.raise_for_status()
    while second.get(PATH).headers.get("etag") != put.headers["etag"]:
        time.sleep(LOOK_S)
    return 1e3 * (time.perf_counter() - started)


def run(changes: int = CHANGES) -> dict[str, Any]:
    """The measure; prints one JSON line."""
    found: dict[str, Any] = {"changes": changes}
    with tempfile.TemporaryDirectory(prefix="following-") as folder, ExitStack() as stack:
        root = Path(folder)
        data = make_data(root / "data")
        s3 = stack.enter_context(running_s3(root / "s3"))
        one, other = (stack.enter_context(running_valkey(root / name)).url for name in ("one", "other"))
        for store, place in (("folder", str(root / "control")), ("bucket", s3.url("control"))):
            for how, redis in (("told", (one, one)), ("not told", (one, other))):
                found[f"{store}, {how}"] = follow(data, place, redis, changes)
    print(json.dumps({"measure": "following", **found, **environment()}))
    return found


def rows(found: dict[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Lines of the table: measure, found, must reach, reached."""
    for name, took in found.items():
        if isinstance(took, dict) and "max_ms" in took:
            told = f"{took['median_ms']:g} ms, at most {took['max_ms']:g} ms"
            yield f"another gateway obeys a document; {name}", told, f"<= {TARGET_MS:g} ms", took["max_ms"] <= TARGET_MS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=CHANGES)
    given = parser.parse_args()
    raise SystemExit(0 if all(reached for *_, reached in rows(run(given.changes))) else 1)


if __name__ == "__main__":
    main()
