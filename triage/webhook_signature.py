"""Signatures as Standard Webhooks has them (github.com/standard-webhooks/standard-webhooks, spec 1.0): HMAC-SHA256 over
`id.timestamp.body`, so that neither body, nor time, nor identity can be changed. Pure.

    webhook-id: msg_...    webhook-timestamp: 1764000000    webhook-signature: v1,BASE64 v1,BASE64

One signature for each secret, so that a receiver may know the old or the new one while they are exchanged.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_S = 300
_LEAST, _MOST = 24, 64


class SignatureError(ValueError):
    """The message is not from whom it says, or is too old. One sentence."""


def secret_bytes(text: str) -> bytes:
    """The key in `whsec_BASE64`. Raises SignatureError, which never tells the secret."""
    try:
        secret = base64.b64decode(text.strip().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise SignatureError(
            f"a secret of webhooks is {PREFIX} and base64; make one with 24 to 64 random bytes"
        ) from None
    if not _LEAST <= len(secret) <= _MOST:
        raise SignatureError(f"a secret of webhooks has {_LEAST} to {_MOST} bytes and not {len(secret)}; make another")
    return secret


def signatures(secrets: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """What stands in `webhook-signature`."""
    return " ".join(f"v1,{_signed(secret, message_id, timestamp, body)}" for secret in secrets)


def check(
    secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float, tolerance_s: int = TOLERANCE_S
) -> str:
    """The message's id, by which a receiver knows what it had before. Raises SignatureError.

    `headers` may be written in any case; `now` is in seconds since the epoch.
    """
    given = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not given.get(name)]
    if missing:
        raise SignatureError(f"the message has no header {missing[0]}; it is not from the service")
    try:
        timestamp = int(given[TIMESTAMP])
    except ValueError:
        raise SignatureError("webhook-timestamp is no number; the message is not from the service") from None
    if abs(now - timestamp) > tolerance_s:
        raise SignatureError(
            f"the message was sent {now - timestamp:.0f} s ago by its word; set the clock right, or it is a replay"
        )
    expected = [_signed(secret, given[ID], timestamp, body).encode() for secret in secrets]
    for each in given[SIGNATURE].split():
        version, _, signature = each.partition(",")
        found = signature.encode()
        if version == "v1" and any(hmac.compare_digest(found, mine) for mine in expected):
            return given[ID]
    raise SignatureError("no signature of the message is by a known secret; compare the secrets of both sides")


def _signed(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    message = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(secret, message, hashlib.sha256).digest()).decode()
