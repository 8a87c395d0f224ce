"""When a world is at rest: nobody waits, nothing is held, every gateway has its whole journal in the index."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import httpx

from tests.faults.load import QUEUE
from tests.faults.world import World
from tests.services import eventually

_SECONDS = 60.0


def settle(world: World) -> float:
    """Returns the seconds that it took. AssertionError, with what is left, when it takes too long."""
    began = time.monotonic()
    left: list[str] = []

    def at_rest() -> bool:
        left[:] = _left(world)
        return not left

    try:
        eventually(at_rest, _SECONDS)
    except AssertionError:
        raise AssertionError(f"after {_SECONDS:.0f} s there is still: {'; '.join(left)}") from None
    return time.monotonic() - began


def _left(world: World) -> list[str]:
    left = []
    with httpx.Client(trust_env=False, timeout=10) as http:
        for gateway in world.gateways:
            lines: list[str] = []
            with contextlib.suppress(httpx.TransportError):
                lines = http.get(f"{gateway.url}/metrics").text.splitlines()
            if "triage_outbox_depth 0.0" not in lines:
                left.append(f"gateway {gateway.node} behind its journal")
    with world.redis() as redis:
        for name in ("held", "amending", "leases"):
            count: Any = redis.zcard(f"sr:{{{QUEUE}}}:{name}")
            if count:
                left.append(f"{count} {name}")
    return left
