"""`python -m triage.archive`: one turn of the archiver in a process of its own, for a gateway (background.py).

Making Parquet takes a whole core for a second or so; in the gateway's own process every request would wait for it. What to do
comes as JSON on standard input, what was done leaves as JSON on standard output.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model_store.errors import ModelStoreError
from triage.archive.archiver import Archiver
from triage.archive.housekeeping import keep_house, opened
from triage.errors import SettingsError, TriageError
from triage.index.reviews import RedisReviews
from triage.ports import Position
from triage.store.opening import open_documents
from triage.store.places import open_objects


def main() -> int:
    """Exit code 0, or 1 with the reason."""
    os.nice(10)
    asked = json.load(sys.stdin)
    indexed = Position(*asked["indexed"]) if asked["indexed"] else None
    try:
        archiver = Archiver(open_objects(asked["log"]), Path(asked["journal"]))
        told: dict[str, Any] = asdict(archiver.turn(asked["node"], indexed, asked["keep_s"]))
        if house := asked.get("house"):
            told |= {"house": asyncio.run(_keep_house(asked, house))}
    except (TriageError, SettingsError, ModelStoreError, OSError) as error:
        told = {"failed": str(error)}
    json.dump(told, sys.stdout)
    return 1 if "failed" in told else 0


async def _keep_house(asked: dict[str, Any], house: dict[str, Any]) -> dict[str, Any]:
    reviews = RedisReviews(house["redis"], house["timeout_s"])
    try:
        log, documents = open_objects(asked["log"]), open_documents(house["control"])
        purging = opened(log, Path(asked["journal"]), open_objects(house["blobs"]), documents, reviews)
        return await keep_house(log, purging, documents)
    finally:
        await reviews.close()


if __name__ == "__main__":
    raise SystemExit(main())
