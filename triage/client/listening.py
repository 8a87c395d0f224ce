"""Outcomes as they come, over as many connections as it takes, each once."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import httpx

from triage.client.transport import Patience, ServiceError, Transport, refusal, unreachable

SILENT_S = 35.0
"""The service says every ten seconds that it lives."""
_REMEMBERED = 100_000


def listen(
    transport: Transport, params: dict[str, Any], after: str, patience_s: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each outcome with the id to go on after. Raises ServiceError or Unreachable when nothing is heard for `patience_s`."""
    patience = Patience(patience_s)
    known: OrderedDict[tuple[Any, ...], None] = OrderedDict()
    position = after
    while True:
        failed: Exception | None = None
        try:
            for event_id, data in _heard(transport, params, position, patience):
                position = event_id
                if data is None:
                    continue
                outcome = json.loads(data)
                if _new(known, outcome):
                    yield position, outcome
        except httpx.TransportError as error:
            failed = unreachable(transport.url, error)
        except ServiceError as error:
            if error.status not in (429, 503):
                raise
            failed = error
        if not patience.wait(getattr(failed, "retry_after_s", None) or 0.0):
            raise failed or unreachable(transport.url, httpx.ReadError("the stream ended"))


def _heard(
    transport: Transport, params: dict[str, Any], after: str, patience: Patience
) -> Iterator[tuple[str, str | None]]:
    """(id, data) of every event, data None where an event only moves the id."""
    position = after
    timeout = httpx.Timeout(transport.http.timeout.connect, read=SILENT_S)
    with transport.http.stream("GET", "/v1/outcomes", params={**params, "after": after}, timeout=timeout) as reply:
        if reply.status_code != 200:
            reply.read()
            raise refusal(reply)
        data: str | None = None
        for line in reply.iter_lines():
            patience.renew()
            if line.startswith("id: "):
                position = line[4:]
            elif line.startswith("data: "):
                data = line[6:]
            elif not line:
                yield position, data
                data = None


def _new(known: OrderedDict[tuple[Any, ...], None], outcome: dict[str, Any]) -> bool:
    """Whether it was not told before: outcomes come at least once."""
    if outcome["type"] == "gap":
        return True
    final = outcome.get("final") or {}
    identity = (outcome["type"], outcome["prediction"], final.get("revision"), outcome.get("recall"))
    if identity in known:
        return False
    known[identity] = None
    if len(known) > _REMEMBERED:
        known.popitem(last=False)
    return True
