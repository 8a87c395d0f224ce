"""The keys with which an OpenID provider signs: found by discovery, kept while it is away, asked for again in measure."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt

from triage.errors import IssuerAway, NotAuthorized

log = logging.getLogger(__name__)
FRESH_S = 300.0
"""A key that the provider withdrew is believed for no longer than this, if the provider answers."""
PAUSE_S = 10.0
"""At most one question to the provider in so many seconds, whatever tokens come."""
PATIENCE_S = 5.0
_LARGEST = 256 * 1024
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


class Issuer:
    """One provider. Its keys are read when the first token comes, and live as long as the gateway."""

    def __init__(self, url: str, pause_s: float = PAUSE_S) -> None:
        self.url = url
        self._pause_s = pause_s
        self._keys: list[dict[str, Any]] = []
        self._asked_at = self._read_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def key(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """The key of this id that may sign with this algorithm. Raises NotAuthorized, IssuerAway."""
        found = self._find(kid, algorithm)
        if found is None or time.monotonic() - self._read_at > FRESH_S:
            asked = self._ask()
            if found is None and asked is not None:
                await asyncio.shield(asked)
                found = self._find(kid, algorithm)
        if found is not None:
            return found
        if self._read_at == float("-inf"):
            raise IssuerAway(f"the OpenID provider {self.url} does not answer; sign in again in a moment")
        raise NotAuthorized("the token is signed by no key of the provider's; sign in again")

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def _find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """The kind of key decides, and not the token's header: a public key must never be taken for a shared secret."""
        fitting = [
            key for key in self._keys
            if (kid is None or key.get("kid") == kid)
            and key.get("kty") == _KINDS[algorithm[:2]]
            and key.get("alg", algorithm) == algorithm
            and key.get("use", "sig") == "sig"
            and key.get("crv") == _CURVES.get(algorithm, key.get("crv"))
        ]  # fmt: skip
        if len(fitting) != 1:
            return None
        try:
            return jwt.PyJWK(fitting[0], algorithm)
        except jwt.PyJWTError:
            return None

    def _ask(self) -> asyncio.Task[None] | None:
        """The question that is on its way, or a new one if it is time for one."""
        if self._asking is None and time.monotonic() - self._asked_at >= self._pause_s:
            self._asked_at = time.monotonic()
            self._asking = asyncio.create_task(self._read())
        return self._asking

    async def _read(self) -> None:
        try:
            async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as client:
                described = await _json(client, f"{self.url.rstrip('/')}/.well-known/openid-configuration")
                if described.get("issuer") != self.url:
                    raise ValueError(f"it calls itself {described.get('issuer')!r}")
                found = (await _json(client, str(described.get("jwks_uri")))).get("keys")
                self._keys = [key for key in found if isinstance(key, dict)] if isinstance(found, list) else []
            self._read_at = time.monotonic()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            why = f"{type(error).__name__}: {error}"
            log.warning("the OpenID provider's keys cannot be read", extra={"issuer": self.url, "why": why})
        finally:
            self._asking = None


async def _json(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """A JSON object of the provider's. Raises ValueError, httpx.HTTPError."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise ValueError(f"{url} is not https")
    body = b""
    async with client.stream("GET", url) as reply:
        reply.raise_for_status()  # a redirect too: nothing else is asked than what is named
        async for chunk in reply.aiter_bytes():
            body += chunk
            if len(body) > _LARGEST:
                raise ValueError(f"{url} has more than {_LARGEST:,} bytes")
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError(f"{url} is no JSON object")
    return found
