"""`Prefer: wait=SECONDS` (RFC 7240, section 4.3): how long a caller can wait. Pure."""

from __future__ import annotations

import re

from triage.errors import BadRequest

_WAIT = re.compile(r"\s*wait\s*=\s*\"?([^\";,]*)\"?\s*(;.*)?", re.IGNORECASE)
_SECONDS = re.compile(r"\d{1,6}(\.\d{1,6})?")


def wait_s(header: str | None) -> float | None:
    """Seconds in a `Prefer` header; None when it states none. Raises BadRequest for a wait that is no number.

    The standard counts whole seconds; a fraction is understood too.
    """
    for preference in (header or "").split(","):
        found = _WAIT.fullmatch(preference)
        if found:
            if not _SECONDS.fullmatch(found[1].strip()):
                raise BadRequest("the wait in Prefer is no number of seconds; send 'Prefer: wait=2'")
            return float(found[1])
    return None
