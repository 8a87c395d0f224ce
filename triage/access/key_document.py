"""What is known of an API key: everything but the key. Pure.

A key is `sr_<prefix>_<secret>`: eight characters that name it, and 160 random bits. Its document, `keys/PREFIX.json`, holds the
SHA-256 of the whole; 160 bits are beyond guessing, so that no slow hash is needed and every request can afford the check.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
import secrets
from typing import Annotated, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from triage.access.grants import GrantDocument, Subject
from triage.access.principal import Principal

_SHAPE = re.compile(r"sr_([a-z2-7]{8})_[a-z2-7]{32}")


class KeyDocument(BaseModel):
    """Whose key it is, what it may do, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    subject: Subject
    """Whoever holds it. Predictions belong to the subject, so that a renewed key still reads them."""
    grants: Annotated[tuple[GrantDocument, ...], Field(min_length=1)]
    project: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = "default"
    """Of a request that names none; and the next."""
    site: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = "default"
    names_reviewers: bool = False
    """A program that leases and answers for people it names."""
    rate: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Requests a second at each gateway; none: what the gateway's settings say."""
    created_at: AwareDatetime
    created_by: Annotated[str, Field(max_length=120)] = ""
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None
    revoked_by: Annotated[str, Field(max_length=120)] = ""
    note: Annotated[str, Field(max_length=500)] = ""

    def principal(self, prefix: str) -> Principal:
        return Principal(
            self.subject, tuple(each.grant() for each in self.grants), self.project, self.site, prefix,
            self.names_reviewers, self.rate,
        )  # fmt: skip

    def ended(self, now: datetime.datetime) -> str | None:
        """A sentence for the holder of a key that is no longer good; None for one that is."""
        if self.revoked_at is not None and self.revoked_at <= now:
            return f"this key was revoked on {self.revoked_at:%Y-%m-%d}; ask an admin for another"
        if self.expires_at is not None and self.expires_at <= now:
            return f"this key expired on {self.expires_at:%Y-%m-%d}; ask an admin for another"
        return None


class NewKey(NamedTuple):
    """`key` is shown once, to whoever made it, and is stored nowhere."""

    prefix: str
    key: str


def new_key() -> NewKey:
    prefix, secret = (base64.b32encode(secrets.token_bytes(bits // 8)).decode().lower() for bits in (40, 160))
    return NewKey(prefix, f"sr_{prefix}_{secret}")


def digest(key: str) -> str:
    """As documents hold it: SHA-256, hexadecimal."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def prefix_of(key: str) -> str | None:
    """The eight characters that name a key; None for what has not the shape of one."""
    found = _SHAPE.fullmatch(key)
    return found[1] if found else None
