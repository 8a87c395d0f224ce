"""What was refused before it was read, journaled so that callers can reconcile; bounded, so that refusing stays cheap.

An image's own faults are journaled where they are found (intake.py). What is too large, of the wrong kind, contradictory or too
much at once comes here: some a second, and the next record tells how many were left out.
"""

from __future__ import annotations

import time

from model_store.record import EventRecord
from triage.errors import BadRequest, Busy, Forbidden, Invalid, NotAnImage, NotFound, TooLarge, TooSlow, TriageError
from triage.ids import now_us
from triage.metrics import Metrics
from triage.recorder import Recorder

_CODES: dict[type[TriageError], str] = {
    TooLarge: "too_large",
    NotAnImage: "format",
    Invalid: "contradicts",
    BadRequest: "unreadable",
    TooSlow: "slow",
    Busy: "busy",
    Forbidden: "forbidden",
    NotFound: "not_found",
}
REFUSED = tuple(_CODES)
_A_SECOND, _AT_ONCE = 20.0, 100.0
_NAME, _TEXT = 64, 255
"""Characters that are kept of what nobody has checked."""


class Refusals:
    """One object for the life of the gateway."""

    def __init__(self, recorder: Recorder, metrics: Metrics) -> None:
        self._recorder = recorder
        self._metrics = metrics
        self._left, self._at, self._skipped = _AT_ONCE, time.monotonic(), 0

    async def record(self, error: TriageError, refusal_id: str, caller: str, said: dict[str, str | None]) -> None:
        """`said` is what the request claimed of project, site, case, and what its caller knows it by. Raises JournalBroken."""
        code = next(code for kind, code in _CODES.items() if isinstance(error, kind))
        self._metrics.refusals.labels(code).inc()
        now = time.monotonic()
        self._left, self._at = min(_AT_ONCE, self._left + _A_SECOND * (now - self._at)), now
        if self._left < 1:
            self._skipped += 1
            return
        self._left -= 1
        skipped, self._skipped = self._skipped, 0
        reference = said.get("key")
        await self._recorder.record(
            EventRecord(
                id=refusal_id, name="refused", project=(said.get("project") or "default")[:_NAME],
                site=(said.get("site") or "")[:_NAME] or None, subject=(said.get("case") or "")[:_TEXT], actor=caller,
                detail={
                    "code": code, "why": str(error), **({"key": reference[:_TEXT]} if reference else {}),
                    **({"not_recorded_before": str(skipped)} if skipped else {}),
                },
                at=now_us(),
            )
        )  # fmt: skip
