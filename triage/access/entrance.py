"""Everybody comes in here: one request's headers in, a principal out, or a refusal that says what to do.

In this order, the first that is shown decides, and a wrong one is not made up for by the next:

    Authorization: Bearer   a key of this service (`sr_...`), the development key, or a token of the OpenID provider
    the proxy's header      where an authenticating proxy stands in front (proxy.py)
    nothing                 only where none of the above is set up, from this machine, to a gateway that listens on it alone
"""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from triage.access.access_document import AccessDocument, Person
from triage.access.key_document import KeyDocument
from triage.access.keyring import Keyring
from triage.access.limits import Buckets
from triage.access.oidc import Oidc
from triage.access.principal import DEVELOPMENT, LOCAL, Principal
from triage.access.proxy import Proxy
from triage.errors import NotAuthorized, TooOften
from triage.settings import LOOPBACK

log = logging.getLogger(__name__)
_SUBJECT = re.compile(r"[^\x00-\x1f\x7f~]{1,120}")
_NOBODY = AccessDocument()
_FAILURES_AT_ONCE = 60
TOLD_EVERY_S = 60.0
"""Of one key, person or address that is held back the log tells no more often."""
_FORWARDED = frozenset({"forwarded", "via", "x-real-ip"})
"""What proxies say of those for whom they ask; with `x-forwarded-*`."""
_OTHER_PAGES = ("cross-site", "same-site")
_HOW = "send a key as 'Authorization: Bearer KEY'"


class Entrance:
    """One object for the life of the gateway."""

    def __init__(
        self, keys: Keyring, oidc: Oidc | None = None, proxy: Proxy | None = None, development: str | None = None,
        rate: float | None = None, failures_per_minute: float = 60.0, *, loopback: bool,
    ) -> None:  # fmt: skip
        """`rate`: requests a second of a key or a person that says nothing else; None: no limit. `development` counts only
        while `loopback` says that nobody but this machine can ask."""
        self._keys = keys
        self._oidc = oidc
        self._proxy = proxy
        self._development = development if loopback else None
        self._rate = rate
        self._failing = failures_per_minute / 60
        self._loopback = loopback
        self._access = _NOBODY
        self._asked, self._failed, self._told = Buckets(), Buckets(), Buckets()

    def know(self, keys: Mapping[str, KeyDocument], access: AccessDocument | None, unread: bool = False) -> None:
        """What the documents say now; `unread`: there are keys whose documents are broken. Not called while the store is away:
        who was known then stays known."""
        self._keys.know(keys, unread)
        self._access = access or _NOBODY

    @property
    def shut(self) -> bool:
        """Nobody could come in who might let others in."""
        return self._oidc is None and self._proxy is None and self._development is None and not self._keys.admins()

    async def close(self) -> None:
        if self._oidc is not None:
            await self._oidc.close()

    async def who(self, headers: Headers, peer: str | None) -> Principal:
        """Raises NotAuthorized, TooOften, IssuerAway."""
        given = headers.get("authorization")
        try:
            found = await self._found(given, headers, peer)
        except NotAuthorized as error:
            if given is not None:
                self._count_failure(peer, str(error))
            raise
        rate = found.rate or self._rate
        if rate is not None:
            wait = self._asked.take(found.key or found.subject, rate, time.monotonic())
            if wait:
                # Not every time: who asks too often would fill the log, too.
                if not self._told.take(found.subject, 1 / TOLD_EVERY_S, time.monotonic(), 1):
                    log.warning("somebody asks too often", extra={"subject": found.subject, "key": found.key})
                raise TooOften(
                    f"{found.subject} may ask {rate:g} times a second; wait, and spread the requests", wait, "rate"
                )
        return found

    async def again(self, headers: Headers, peer: str | None) -> Principal:
        """Who it is by now, of a request that was let in and goes on; nothing is counted. Raises as `who` does."""
        return await self._found(headers.get("authorization"), headers, peer)

    async def _found(self, given: str | None, headers: Headers, peer: str | None) -> Principal:
        scheme, _, token = (given or "").partition(" ")
        if scheme.lower() == "bearer":
            return await self._bearer(token.strip())
        if self._proxy is not None:
            person = self._proxy.person(headers, peer)
            if person is not None:
                return self._person(person)
        if given is None and self.local:
            _from_here(headers)
            return LOCAL
        raise NotAuthorized(self._how)

    @property
    def local(self) -> bool:
        """Whether programs of this machine come in without anything."""
        others = (self._development, self._oidc, self._proxy)
        return self._loopback and self._keys.empty and all(each is None for each in others)

    async def _bearer(self, token: str) -> Principal:
        if self._development is not None and hmac.compare_digest(token.encode(), self._development.encode()):
            return DEVELOPMENT
        if self._oidc is not None and token.count(".") == 2:
            return self._person(await self._oidc.person(token))
        return self._keys.principal(token)

    def _person(self, person: Person) -> Principal:
        if not _SUBJECT.fullmatch(person.subject):
            raise NotAuthorized(
                "the name that was vouched for has control characters, a ~, or more than 120; give another"
            )
        return self._access.principal(person)

    @property
    def _how(self) -> str:
        ways = [
            _HOW,
            "a token of the OpenID provider the same way" if self._oidc else "",
            "come by the proxy" if self._proxy else "",
        ]
        return ", or ".join(each for each in ways if each)

    def _count_failure(self, peer: str | None, why: str) -> None:
        """Raises TooOften once a peer has failed too often; what is right passes all the same, since many may share one."""
        wait = self._failed.take(peer or "", self._failing, time.monotonic(), _FAILURES_AT_ONCE)
        if wait:
            if not self._told.take(f"peer {peer}", 1 / TOLD_EVERY_S, time.monotonic(), 1):
                log.warning("too many wrong keys come from an address", extra={"peer": peer})
            raise TooOften(
                "too many wrong keys came from this address; wait, and send the right one", wait, "failures"
            ) from None
        log.info("nobody was let in", extra={"peer": peer, "why": why})


def _from_here(headers: Headers) -> None:
    """Without a key, only programs of this machine: a web page, a name that was made to point here, and what a proxy of this
    machine forwards for somebody else are refused."""
    host, origin = headers.get("host", ""), headers.get("origin")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    foreign = bool(origin and urlsplit(origin).netloc != host) or headers.get("sec-fetch-site") in _OTHER_PAGES
    forwarded = any(each in _FORWARDED or each.startswith("x-forwarded-") for each in headers)
    if name.strip("[]") not in LOOPBACK or foreign or forwarded:
        raise NotAuthorized(
            "without keys only this machine may call; make one (secondreader keys create), or call 127.0.0.1 directly"
        )
