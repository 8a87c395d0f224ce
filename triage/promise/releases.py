"""Which release reads an image, and under which name its answers are watched. Pure.

What a canary answers is evidence for the canary's own certificates and against nothing else; so its classes are watched,
suspended and recalled under a name of their own, `<site>+canary`, which no site can have.
"""

from __future__ import annotations

import hashlib
import hmac

from model_store.record import PredictionRecord

CANARY = "+canary"


def watched_as(record: PredictionRecord) -> str:
    """The name under which the answer is evidence."""
    return record.site + CANARY if record.release == "canary" else record.site


def chosen(secret: bytes, share: float, site: str, prediction: str, case: str | None) -> bool:
    """Whether a challenger with this share of a site's images reads one: always the same for the same image, alike for all of a
    case, and independent of what draws audits."""
    subject = f"release\0{site}\0" + (f"image {prediction}" if case is None else f"case {case}")
    digest = hmac.new(secret, subject.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8]) / 2**64 < share
