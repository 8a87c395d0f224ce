"""For receivers of webhooks: is it from the service, and what does it say?"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from triage.webhook_signature import TOLERANCE_S, check, secret_bytes


class Webhook(NamedTuple):
    """A message that was verified. `id` is the same however often it is sent: by it a receiver knows what it had before."""

    id: str
    outcome: dict[str, Any]


def verify_webhook(
    secrets: str | Sequence[str], headers: Mapping[str, str], body: bytes, tolerance_s: int = TOLERANCE_S
) -> Webhook:
    """The message in a request's headers and its body as it came, byte for byte. `secrets` are `whsec_...`, any of which may
    have signed. Raises SignatureError: answer 401 then, and do nothing else."""
    known = [secret_bytes(each) for each in ([secrets] if isinstance(secrets, str) else secrets)]
    message_id = check(known, headers, body, time.time(), tolerance_s)
    return Webhook(message_id, json.loads(body))
