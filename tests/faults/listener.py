"""Who is told of finals: one listener to the outcomes, that connects again, to the other gateway, and goes on where it was."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any

import httpx

from tests.faults.ledger import Ledger

_PAUSE_S = 0.2
_SILENT_S = 25.0
"""The service says every ten seconds that it lives."""


async def listen(http: httpx.AsyncClient, urls: Sequence[str], ledger: Ledger) -> None:
    """Until it is cancelled."""
    position = "0"
    timeout = httpx.Timeout(5.0, read=_SILENT_S)
    for turn in itertools.count():
        url = f"{urls[turn % len(urls)]}/v1/outcomes"
        try:
            async with http.stream(
                "GET", url, params={"project": "default", "after": position}, timeout=timeout
            ) as reply:
                if reply.status_code != 200:
                    await reply.aread()
                    assert reply.status_code in (429, 503), f"a listener was answered {reply.status_code}: {reply.text}"
                else:
                    position = await _hear(reply, position, ledger)
        except httpx.TransportError:
            pass
        await asyncio.sleep(_PAUSE_S)


async def _hear(reply: httpx.Response, position: str, ledger: Ledger) -> str:
    """Where to go on, when the stream ends, however it does."""
    told = position
    try:
        async for line in reply.aiter_lines():
            if line.startswith("id: "):
                told = line[4:]
            elif line.startswith("data: "):
                _note(json.loads(line[6:]), ledger)
            elif not line:
                position = told
    except httpx.TransportError:
        pass
    return position


def _note(outcome: dict[str, Any], ledger: Ledger) -> None:
    if outcome["type"] in ("final", "correction"):
        final = outcome["final"]
        words = json.dumps([final["labels"], final["by"], final.get("outcome")])
        ledger.heard.setdefault((outcome["prediction"], final["revision"]), set()).add(words)
