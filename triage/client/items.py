"""What a consumer holds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from triage.client.transport import LeaseLost, ServiceError


@dataclass(frozen=True)
class LeasedItem:
    """An item in this reviewer's hands until `expires_at`."""

    token: str
    item: str
    expires_at: str
    reasons: tuple[str, ...]
    suggestions: tuple[dict[str, Any], ...]
    labels: tuple[dict[str, Any], ...]
    """Every label that can be answered, `{id, name, group, ...}`."""
    groups: tuple[dict[str, Any], ...] = ()
    """Which of them exclude one another, `{id, kind, ...}`."""
    blind: bool = False
    """Nothing is told of what the model said, and the answer says something of every label."""
    prediction: str | None = None
    """None in a blind item."""
    site: str = ""
    case: str | None = None
    earlier: tuple[dict[str, Any], ...] = ()
    """What others said of it, for an adjudicator."""


class Hold:
    """Keeps a lease for as long as its block lasts; `lost` when somebody else has the item by now."""

    def __init__(self, extend: Callable[[], object], every_s: float) -> None:
        self._extend = extend
        self._every_s = every_s
        self._over = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    @property
    def lost(self) -> bool:
        return self._lost.is_set()

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self._extend()
            except LeaseLost:
                self._lost.set()
                return
            except (ServiceError, httpx.TransportError):
                continue  # it may be back before the lease ends
