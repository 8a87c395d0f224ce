"""People's tokens from an OpenID provider: signature, issuer, audience and times are checked, and nothing else is believed.

RFC 7519 and RFC 8725: the algorithms are ours to list, each for its own kind of key; `none` and shared secrets are never taken.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from typing import Any, NamedTuple

import jwt

from triage.access.access_document import Person
from triage.access.issuer import Issuer
from triage.errors import NotAuthorized

_REMEMBERED = 10_000
_LONGEST_S = 60.0
"""A verified token is believed without looking again for so long: a key that its provider withdraws counts no longer."""
_SAID = {
    jwt.ExpiredSignatureError: "the token has expired",
    jwt.ImmatureSignatureError: "the token is not valid yet",
    jwt.InvalidAudienceError: "the token is for another service",
    jwt.InvalidIssuerError: "the token is another provider's",
    jwt.MissingRequiredClaimError: "the token lacks what it must say",
    jwt.InvalidAlgorithmError: "the token is signed in a way that is not taken",
    jwt.InvalidSignatureError: "the token's signature is wrong",
}


class Claims(NamedTuple):
    """The claims that name a person and their groups."""

    subject: str = "sub"
    groups: str = "groups"


_CLAIMS = Claims()


class Oidc:
    """Tokens of one provider, for one audience."""

    def __init__(
        self, issuer: Issuer, audience: str, algorithms: tuple[str, ...], leeway_s: float, claims: Claims = _CLAIMS
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._algorithms = algorithms
        self._leeway_s = leeway_s
        self._claims = claims
        self._verified: OrderedDict[bytes, tuple[Person, float]] = OrderedDict()
        """By the token's SHA-256, with the moment until which it is believed."""

    async def person(self, token: str) -> Person:
        """Whose token it is. Raises NotAuthorized with what is wrong with it, IssuerAway."""
        name = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        known = self._verified.get(name)
        if known is not None and time.time() < known[1]:
            return known[0]
        found = await self._verify(token)
        person = self._person(found)
        self._verified[name] = person, min(float(found["exp"]) + self._leeway_s, time.time() + _LONGEST_S)
        self._verified.move_to_end(name)
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return person

    async def close(self) -> None:
        await self._issuer.close()

    async def _verify(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid = header.get("alg"), header.get("kid")
            if algorithm not in self._algorithms or not isinstance(kid, str | None):
                raise jwt.InvalidAlgorithmError
            key = await self._issuer.key(kid, algorithm)
            found: dict[str, Any] = jwt.decode(
                token, key, [algorithm], audience=self._audience, issuer=self._issuer.url, leeway=self._leeway_s,
                options={"require": ["exp", "iss", "aud"]},
            )  # fmt: skip
        except (jwt.PyJWTError, ValueError) as error:
            said = next((told for kind, told in _SAID.items() if isinstance(error, kind)), "the token cannot be read")
            raise NotAuthorized(f"{said}; sign in again") from None
        return found

    def _person(self, found: dict[str, Any]) -> Person:
        subject, groups = found.get(self._claims.subject), found.get(self._claims.groups, [])
        if not isinstance(subject, str):
            raise NotAuthorized(f"the token names nobody in {self._claims.subject!r}; have the provider put it in")
        return Person(
            subject, tuple(each for each in groups if isinstance(each, str)) if isinstance(groups, list) else ()
        )
