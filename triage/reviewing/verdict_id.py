"""The ids of verdicts: `<queue>~<item>~<digest of the lease>`. Any replica finds a verdict by its id."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from triage.reviewing.item import LeaseToken

_DIGITS = 32


@dataclass(frozen=True)
class VerdictId:
    queue: str
    item: str
    digest: str

    def __str__(self) -> str:
        return f"{self.queue}~{self.item}~{self.digest}"

    @classmethod
    def of(cls, token: LeaseToken) -> VerdictId:
        """The one that a lease leads to. It does not tell the token."""
        digest = hashlib.sha256(f"secondreader verdict\0{token}".encode()).hexdigest()
        return cls(token.queue, token.item, digest[:_DIGITS])

    @classmethod
    def parse(cls, text: str) -> VerdictId:
        """Raises ValueError for anything that is none."""
        queue, item, digest = text.split("~")
        if not (queue and item and digest):
            raise ValueError("a part of the id is empty")
        return cls(queue, item, digest)
