"""A queue consumer: brings items to another program, or to people without a browser, and their answers back.

    python examples/consumer.py --queue default.review --reviewer ada --folder bridge

It takes a few items at a time and puts each into the folder as `to-read/ITEM.png` and `to-read/ITEM.json`, which says what
may be answered. Whoever answers writes `answered/ITEM.json`, like `{"present": ["boot"]}` or `{"outcome": "unusable"}`:
under another name first, then renamed. Labels that a blind item asks for and that are not present are sent as absent. What
cannot be taken is told and becomes `ITEM.refused`.

All that it has to remember lies in the folder, so it may be killed at any moment and started again: items that are still
its own are kept, others are taken away again, and an answer that was sent already is sent again, which changes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from triage.client import Client, LeasedItem, LeaseLost, ServiceError


class Bridge:
    def __init__(self, client: Client, queue: str, reviewer: str, folder: Path, at_once: int) -> None:
        self.client = client
        self.queue = queue
        self.reviewer = reviewer
        self.to_read = folder / "to-read"
        self.answered = folder / "answered"
        self.at_once = at_once
        for each in (self.to_read, self.answered):
            each.mkdir(parents=True, exist_ok=True)

    def turn(self) -> None:
        """One round: answers back, leases kept, new items out."""
        for item in self.held():
            try:
                self.bring_back(item)
            except LeaseLost as error:  # somebody else has it by now, or has answered it
                print(f"{item.item}: {error}", flush=True)
                self.forget(item)
        asked = {item.item for item in self.held()}
        for path in self.answered.glob("*.json"):
            if path.stem not in asked:
                self.refuse(path, "nothing of this name is to be read")
        free = self.at_once - len(self.held())
        if free > 0:
            for item in self.client.lease(self.queue, self.reviewer, count=free, wait_s=1):
                self.put_out(item)
        else:
            time.sleep(1)

    def held(self) -> list[LeasedItem]:
        return [LeasedItem(**json.loads(path.read_text())) for path in sorted(self.to_read.glob("*.json"))]

    def put_out(self, item: LeasedItem) -> None:
        """The lease first: an item that we forget comes back to the queue by itself, but only when its lease ends."""
        write(self.to_read / f"{item.item}.json", json.dumps(asdict(item)).encode())
        write(self.to_read / f"{item.item}.png", self.client.leased_image(item))
        self.client.shown(item)
        print(f"{item.item}: to be read", flush=True)

    def bring_back(self, item: LeasedItem) -> None:
        path = self.answered / f"{item.item}.json"
        if not path.exists():
            self.client.extend(item)
            return
        try:
            self.client.answer(item, **said(path, item))
        except (ServiceError, TypeError, ValueError) as error:
            if isinstance(error, LeaseLost) or getattr(error, "status", 422) != 422:
                raise
            self.refuse(path, str(error))
            return
        print(f"{item.item}: answered", flush=True)
        self.forget(item)

    def refuse(self, path: Path, why: str) -> None:
        """The answer's own fault: whoever gave it mends it."""
        print(f"{path.stem}: {why}", flush=True)
        path.replace(path.with_suffix(".refused"))

    def forget(self, item: LeasedItem) -> None:
        """The lease last: as long as it is there, the rest is found again."""
        (self.answered / f"{item.item}.json").unlink(missing_ok=True)
        (self.to_read / f"{item.item}.png").unlink(missing_ok=True)
        (self.to_read / f"{item.item}.json").unlink(missing_ok=True)


def said(path: Path, item: LeasedItem) -> dict[str, Any]:
    """What an answer's file says, as words of `Client.answer`. Raises ValueError."""
    found = json.loads(path.read_text())
    if not isinstance(found, dict):
        raise ValueError('an answer is an object, like {"present": ["boot"]}')
    if item.blind and "outcome" not in found:  # every label is asked
        named = {label for labels in found.values() if isinstance(labels, list) for label in labels}
        found["absent"] = [*found.get("absent", []), *(each["id"] for each in item.labels if each["id"] not in named)]
    return found


def write(path: Path, content: bytes) -> None:
    """Whole or not at all, for whoever looks into the folder."""
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Brings items of a queue to a folder, and answers back.")
    parser.add_argument("--url", default=os.environ.get("SECONDREADER_URL", "http://127.0.0.1:8080"))
    parser.add_argument("--queue", default="default.review")
    parser.add_argument("--reviewer", default=os.environ.get("USER", "me"))
    parser.add_argument("--folder", type=Path, default=Path("bridge"))
    parser.add_argument("--at-once", type=int, default=4, help="items in the folder at a time")
    asked = parser.parse_args()
    with Client(asked.url, os.environ.get("TRIAGE_API_KEY")) as client:
        bridge = Bridge(client, asked.queue, asked.reviewer, asked.folder, asked.at_once)
        while True:
            try:
                bridge.turn()
            except (httpx.TransportError, ServiceError) as error:
                if getattr(error, "status", 503) in (401, 403, 404):
                    sys.exit(str(error))
                print(error, flush=True)  # it is away: what is in the folder waits
                time.sleep(2)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
