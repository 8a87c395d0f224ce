"""Tokens of an OpenID provider: which are believed, and what of the rest is said. The provider is a real one."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.triage.provider import AUDIENCE, Provider, provider
from triage.access.access_document import Person
from triage.access.issuer import Issuer
from triage.access.oidc import Claims, Oidc
from triage.errors import IssuerAway, NotAuthorized

BOTH = ("RS256", "ES256")


@pytest.fixture
def issuer() -> Iterator[Provider]:
    with provider() as found:
        yield found


def oidc(issuer: Provider, algorithms: tuple[str, ...] = BOTH, pause_s: float = 0.0, **claims: str) -> Oidc:
    return Oidc(Issuer(issuer.url, pause_s), AUDIENCE, algorithms, 5.0, Claims(**claims))


async def said_of(reader: Oidc, token: str) -> str:
    with pytest.raises(NotAuthorized) as refused:
        await reader.person(token)
    assert str(refused.value).endswith("; sign in again"), refused.value
    assert token[:20] not in str(refused.value)
    return str(refused.value)


async def test_a_good_token_names_a_person_and_their_groups(issuer: Provider) -> None:
    reader = oidc(issuer)
    assert await reader.person(issuer.token(groups=["radiology", "night"])) == Person("ada", ("radiology", "night"))
    assert await reader.person(issuer.token(aud=["other", AUDIENCE])) == Person("ada")
    assert await reader.person(issuer.token(groups="radiology")) == Person("ada")  # no list: believed by nobody
    named = oidc(issuer, subject="email", groups="roles")
    assert await named.person(issuer.token(email="a@b.org", roles=["x"], groups=["y"])) == Person("a@b.org", ("x",))


@pytest.mark.parametrize(
    ("kind", "algorithm", "taken"),
    [
        ("RSA", "RS256", True),
        ("EC", "ES256", True),
        ("RSA", "PS256", False),
        ("RSA", "RS512", False),
        ("OKP", "EdDSA", False),
    ],
)
async def test_only_the_listed_algorithms_are_taken(issuer: Provider, kind: str, algorithm: str, taken: bool) -> None:
    issuer.add("two", kind)
    token = issuer.token("two", algorithm)
    if taken:
        assert (await oidc(issuer).person(token)).subject == "ada"
    else:
        assert "signed in a way that is not taken" in await said_of(oidc(issuer), token)
    assert (await oidc(issuer, (algorithm,)).person(token)).subject == "ada"


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"exp": -60}, "the token has expired"),
        ({"nbf": 600}, "the token is not valid yet"),
        ({"iat": 600}, "the token is not valid yet"),
        ({"aud": "somebody else"}, "the token is for another service"),
        ({"aud": None}, "the token lacks what it must say"),
        ({"iss": "https://elsewhere.example"}, "the token is another provider's"),
        ({"iss": None}, "the token lacks what it must say"),
        ({"exp": None}, "the token lacks what it must say"),
    ],
)
async def test_what_a_token_says_wrongly_is_refused(issuer: Provider, claims: dict[str, Any], says: str) -> None:
    now = int(time.time())  # times are said from now on, whenever that is
    timed: dict[str, Any] = {name: now + value if isinstance(value, int) else value for name, value in claims.items()}
    assert says in await said_of(oidc(issuer), issuer.token(**timed))


async def test_clocks_may_differ_by_the_leeway(issuer: Provider) -> None:
    assert (await oidc(issuer).person(issuer.token(exp=int(time.time()) - 2))).subject == "ada"


async def test_a_token_that_names_nobody_is_refused(issuer: Provider) -> None:
    for claim in (None, 7, ["ada"], {"name": "ada"}):
        with pytest.raises(NotAuthorized, match="names nobody in 'email'"):
            await oidc(issuer, subject="email").person(issuer.token(email=claim))


def unsigned(token: str, header: dict[str, Any], signature: str = "") -> str:
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return f"{head}.{token.split('.')[1]}.{signature}"


async def test_a_forged_token_is_refused(issuer: Provider) -> None:
    reader = oidc(issuer)
    good = issuer.token()
    await reader.person(good)
    head, body, signature = good.split(".")
    other = json.loads(base64.urlsafe_b64decode(body + "==")) | {"sub": "admin"}
    forged = base64.urlsafe_b64encode(json.dumps(other).encode()).rstrip(b"=").decode()
    assert "signature is wrong" in await said_of(reader, f"{head}.{forged}.{signature}")
    with provider() as foreign:  # a real provider's real token, of another provider
        foreign.url = issuer.url
        assert "signature is wrong" in await said_of(reader, foreign.token())
    for token in ("a.b.c", "..", good[:-4] + "AAAA", f"{good}.x", "é.é.é", good.replace(".", "..")):
        await said_of(reader, token)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS256", "HS512"])
async def test_no_token_chooses_how_it_is_checked(issuer: Provider, algorithm: str) -> None:
    """The provider's public key is known to all: taken for a shared secret, it would let anybody sign (CVE-2015-9235)."""
    public = issuer.keys["one"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": algorithm, "kid": "one", "typ": "JWT"}
    if algorithm.startswith("HS"):
        import hashlib
        import hmac

        start = unsigned(issuer.token(), header).rsplit(".", 1)[0]
        way = hashlib.sha256 if algorithm == "HS256" else hashlib.sha512
        mac = base64.urlsafe_b64encode(hmac.digest(public, start.encode(), way)).rstrip(b"=").decode()
        token = f"{start}.{mac}"
    else:
        token = unsigned(issuer.token(), header)
    assert "signed in a way that is not taken" in await said_of(oidc(issuer), token)


async def test_a_shared_secret_among_the_provider_s_keys_signs_nothing(issuer: Provider) -> None:
    secret = base64.urlsafe_b64encode(b"s" * 64).rstrip(b"=").decode()
    issuer.said["shared"] = {"kty": "oct", "k": secret, "kid": "shared", "alg": "HS256", "use": "sig"}
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "ada", "exp": int(time.time()) + 60}
    token = jwt.encode(claims, b"s" * 64, "HS256", {"kid": "shared"})
    assert "signed in a way that is not taken" in await said_of(oidc(issuer), token)
    renamed = unsigned(token, {"alg": "RS256", "kid": "shared"}, token.rsplit(".", 1)[1])
    assert "signed by no key of the provider's" in await said_of(oidc(issuer), renamed)


async def test_a_key_signs_only_what_it_is_for(issuer: Provider) -> None:
    issuer.add("sealing", "RSA", use="enc")
    issuer.add("other", "RSA", alg="RS512")
    for kid in ("sealing", "other"):
        assert "signed by no key of the provider's" in await said_of(oidc(issuer), issuer.token(kid))
    elliptic = issuer.token("one", header={"kid": "elliptic"})
    issuer.add("elliptic", "EC")
    assert "signed by no key of the provider's" in await said_of(oidc(issuer), elliptic)  # RS256 by a key that is none


async def test_without_a_key_id_the_provider_s_only_key_is_meant(issuer: Provider) -> None:
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "ada", "exp": int(time.time()) + 60}
    token = jwt.encode(claims, issuer.keys["one"], "RS256")
    assert (await oidc(issuer).person(token)).subject == "ada"
    issuer.add("two")
    assert "signed by no key of the provider's" in await said_of(oidc(issuer), token)


async def test_new_keys_are_asked_for_in_measure(issuer: Provider) -> None:
    reader = oidc(issuer, pause_s=3600)
    await reader.person(issuer.token())
    asked = issuer.asked
    assert asked == 2  # its description, and its keys
    issuer.add("two")
    for _ in range(20):
        assert "signed by no key" in await said_of(reader, issuer.token("two"))
    assert issuer.asked == asked
    eager = oidc(issuer)
    await eager.person(issuer.token())
    issuer.add("three")
    assert (await eager.person(issuer.token("three"))).subject == "ada"  # a rotation is followed at once


async def test_known_keys_outlive_the_provider_s_absence(issuer: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = oidc(issuer)
    await reader.person(issuer.token())
    issuer.status = 503
    monkeypatch.setattr("triage.access.issuer.FRESH_S", 0.0)
    assert (await reader.person(issuer.token(sub="bob"))).subject == "bob"
    assert "signed by no key" in await said_of(reader, issuer.token("one", header={"kid": "new"}))
    with pytest.raises(IssuerAway, match=r"the OpenID provider http.* does not answer; sign in again in a moment"):
        await oidc(issuer).person(issuer.token())
    issuer.status = 200
    assert (await reader.person(issuer.token(sub="eve"))).subject == "eve"
    await reader.close()


async def test_a_key_that_the_provider_withdrew_is_forgotten(issuer: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triage.access.issuer.FRESH_S", 0.0)
    monkeypatch.setattr("triage.access.oidc._LONGEST_S", 0.0)
    issuer.add("two")
    reader = oidc(issuer)
    await reader.person(issuer.token("two"))
    issuer.drop("two")
    assert "signed by no key of the provider's" in await refused_in_time(reader, issuer.token("two"))
    await reader.close()


@pytest.mark.parametrize("fault", ["another issuer", "http elsewhere", "no such page", "too large", "no object"])
async def test_a_provider_that_cannot_be_believed_is_not(issuer: Provider, fault: str) -> None:
    token = issuer.token()
    match fault:
        case "another issuer":
            issuer.calls_itself = "https://somebody.example"
        case "http elsewhere":
            issuer.jwks_uri = "http://192.0.2.1/jwks"
        case "no such page":
            issuer.jwks_uri = f"{issuer.url}/nothing"
        case "too large":
            issuer.said["one"]["x"] = "x" * 300_000
        case "no object":
            issuer.jwks_uri = "file:///etc/passwd"
    with pytest.raises(IssuerAway):
        await oidc(issuer).person(token)


async def test_what_was_verified_is_remembered_and_no_longer_than_it_is_good(
    issuer: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, decode = [0], jwt.decode

    def counted(*given: Any, **how: Any) -> Any:
        looked[0] += 1
        return decode(*given, **how)

    monkeypatch.setattr("triage.access.oidc.jwt.decode", counted)
    reader = Oidc(Issuer(issuer.url, 0.0), AUDIENCE, BOTH, 0.0)
    token = issuer.token(exp=int(time.time()) + 2)
    for _ in range(100):
        await reader.person(token)
    assert looked == [1]
    assert "has expired" in await refused_in_time(reader, token)


async def refused_in_time(reader: Oidc, token: str) -> str:
    """What is said of a token once it is no longer believed."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            await reader.person(token)
        except NotAuthorized as error:
            return str(error)
        await asyncio.sleep(0.01)
    raise AssertionError("the token is still believed")
