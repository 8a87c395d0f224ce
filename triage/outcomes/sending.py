"""One message, sent once. What the receiver said of it, in the words that decide what follows."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp

from triage import webhook_signature as signature
from triage.control.webhook_document import WebhookDocument
from triage.outcomes.endpoints import EndpointRefused, PublicOnly, check_url

_READ = 16_384
"""Bytes of a reply that are read, and thrown away, so that the connection can be used again."""
_LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True)
class Sent:
    """`taken`: a 2xx. `gone`: a 410. `retry_after_s`: the receiver asks for so long a pause."""

    taken: bool
    says: str
    gone: bool = False
    retry_after_s: float = 0.0


class Secrets:
    """Secrets by name, read anew for every message: one is exchanged without a restart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, names: Collection[str]) -> list[bytes]:
        """Raises SignatureError, which names the one that is missing or broken."""
        return [self._one(name) for name in names]

    def _one(self, name: str) -> bytes:
        kind, _, place = name.partition(":")
        try:
            text = os.environ[place] if kind == "env" else (self._folder / place).read_text("utf-8")
        except (KeyError, OSError, UnicodeDecodeError):
            where = "the environment" if kind == "env" else str(self._folder)
            raise signature.SignatureError(f"the secret {name} is not in {where}; put it there") from None
        try:
            return signature.secret_bytes(text)
        except signature.SignatureError as error:
            raise signature.SignatureError(f"the secret {name}: {error}") from None


class Sender:
    """One pool of connections for all webhooks of the gateway."""

    def __init__(self, allowed: Collection[str], secrets: Secrets, resolver: PublicOnly | None = None) -> None:
        self._allowed = frozenset(each.lower() for each in allowed)
        self._secrets = secrets
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def check(self, document: WebhookDocument) -> list[bytes]:
        """The secrets that sign. Raises EndpointRefused, SignatureError."""
        check_url(document.url, self._allowed)
        return await asyncio.to_thread(self._secrets.of, document.secrets)

    async def post(self, document: WebhookDocument, message_id: str, body: bytes) -> Sent:
        """Never raises for what the network or the receiver does."""
        timestamp = int(time.time())
        try:
            secrets = await self.check(document)
            headers = {
                "Content-Type": "application/json", "User-Agent": "secondreader-webhooks",
                signature.ID: message_id, signature.TIMESTAMP: str(timestamp),
                signature.SIGNATURE: signature.signatures(secrets, message_id, timestamp, body),
            }  # fmt: skip
            async with asyncio.timeout(document.timeout_s):
                async with self._opened().post(
                    document.url, data=body, headers=headers, allow_redirects=False
                ) as reply:
                    await reply.content.read(_READ)
                    return _judged(reply.status, reply.headers.get("Retry-After"))
        except (EndpointRefused, signature.SignatureError) as error:
            return Sent(False, str(error))
        except TimeoutError:
            return Sent(False, f"no answer within {document.timeout_s:g} s")
        except aiohttp.ClientConnectorError as error:
            return Sent(False, str(error.os_error) or "no connection")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Sent(False, f"{type(error).__name__}: {error}"[:300])

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=self._resolver or PublicOnly(self._allowed), use_dns_cache=False, limit=256
            )
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        return self._session


def _judged(status: int, retry_after: str | None) -> Sent:
    if 200 <= status < 300:
        return Sent(True, str(status))
    if status == 410:
        return Sent(False, "410: the receiver is gone", gone=True)
    if 300 <= status < 400:
        return Sent(False, f"{status}: redirects are not followed; write the address that it points to")
    return Sent(False, f"status {status}", retry_after_s=_pause(retry_after) if status in (429, 503) else 0.0)


def _pause(said: str | None) -> float:
    """Seconds in a Retry-After, which is a number or a date (RFC 9110, section 10.2.3); 0 where it is neither."""
    if said is None:
        return 0.0
    try:
        seconds = float(said) if said.strip().isdigit() else parsedate_to_datetime(said).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_WAIT_S)
