"""Who comes in by which way: the entrance by itself, and a proxy that vouches for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.datastructures import Headers

from tests.triage.provider import AUDIENCE, Provider, provider
from tests.triage.test_keys import document
from triage.access.access_document import AccessDocument
from triage.access.entrance import Entrance
from triage.access.key_document import new_key
from triage.access.opening import entrance_of
from triage.access.principal import DEVELOPMENT, LOCAL
from triage.errors import NotAuthorized, TooOften
from triage.settings import Settings

HERE = {"host": "127.0.0.1:8080"}
WAY = "x-forwarded-user"


def entrance(**settings: Any) -> Entrance:
    return entrance_of(Settings.load(**settings))


def bearer(token: str) -> Headers:
    return Headers({**HERE, "authorization": f"Bearer {token}"})


@pytest.fixture(scope="module")
def issuer() -> Iterator[Provider]:
    with provider() as found:
        yield found


async def test_without_any_way_in_this_machine_s_programs_come_in() -> None:
    assert await entrance().who(Headers(HERE), "127.0.0.1") == LOCAL
    forwarded: list[dict[str, str]] = [
        {"x-forwarded-for": "203.0.113.9"}, {"x-forwarded-host": "reader.example"}, {"forwarded": "for=203.0.113.9"},
        {"via": "1.1 proxy"}, {"x-real-ip": "203.0.113.9"}, {"sec-fetch-site": "cross-site"},
    ]  # fmt: skip
    foreign = [{"host": "rebound.example"}, {**HERE, "origin": "http://evil.example"}, {}]
    for headers in (*foreign, *({**HERE, **each} for each in forwarded)):
        with pytest.raises(NotAuthorized, match="without keys only this machine may call"):
            await entrance().who(Headers(headers), "127.0.0.1")
    assert await entrance().who(Headers({**HERE, "sec-fetch-site": "same-origin"}), "127.0.0.1") == LOCAL
    with pytest.raises(NotAuthorized):
        await entrance().who(bearer("anything"), "127.0.0.1")


@pytest.mark.parametrize("way", ["key", "revoked", "broken", "development", "digest", "oidc", "proxy", "host"])
async def test_any_way_in_shuts_the_local_one(way: str, issuer: Provider) -> None:
    ways: dict[str, dict[str, Any]] = {
        "development": {"api_key": "open sesame"}, "digest": {"admin_key_sha256": "0" * 64},
        "oidc": {"oidc_issuer": issuer.url, "oidc_audience": AUDIENCE}, "host": {"host": "0.0.0.0"},
        "proxy": {"proxy_header": WAY, "proxy_networks": ["10.0.0.0/8"]},
    }  # fmt: skip
    found = entrance(**ways.get(way, {}))
    if way in ("key", "revoked"):
        ended = {"revoked_at": "2020-01-01T00:00:00Z"} if way == "revoked" else {}
        found.know({"abcdefgh": document(new_key().key, **ended)}, None)
    if way == "broken":
        found.know({}, None, unread=True)
    with pytest.raises(NotAuthorized, match="send a key as"):
        await found.who(Headers(HERE), "127.0.0.1")


async def test_the_development_key_is_for_loopback() -> None:
    assert await entrance(api_key="open sesame").who(bearer("open sesame"), "127.0.0.1") == DEVELOPMENT
    with pytest.raises(NotAuthorized):
        await entrance(api_key="open sesame").who(bearer("open sesam"), "127.0.0.1")


async def test_people_have_the_roles_that_access_json_gives_them(issuer: Provider) -> None:
    found = entrance(oidc_issuer=issuer.url, oidc_audience=AUDIENCE)
    people = AccessDocument.model_validate(
        {
            "people": {"ada": [{"role": "reviewer", "projects": ["skin"]}]},
            "groups": {"night": [{"role": "auditor"}], "admins": [{"role": "admin"}]},
        }
    )
    found.know({}, people)
    ada = await found.who(bearer(issuer.token(groups=["night", "unheard of"])), "10.0.0.9")
    assert (ada.subject, ada.key, ada.names_reviewers) == ("ada", "", False)
    assert ada.may("lease", "skin")
    assert not ada.may("lease", "lung")
    assert ada.may("log.read")
    assert not ada.may("keys")
    stranger = await found.who(bearer(issuer.token(sub="eve")), "10.0.0.9")
    assert stranger.grants == ()
    found.know({}, None)
    again = await found.who(bearer(issuer.token(groups=["night"])), "10.0.0.9")
    assert again.grants == ()
    await found.close()


async def test_keys_and_tokens_go_side_by_side(issuer: Provider) -> None:
    made = new_key()
    found = entrance(oidc_issuer=issuer.url, oidc_audience=AUDIENCE, host="0.0.0.0")
    assert not found.shut
    found.know({made.prefix: document(made.key)}, None)
    assert (await found.who(bearer(made.key), "10.0.0.9")).subject == "pacs"
    assert (await found.who(bearer(issuer.token()), "10.0.0.9")).subject == "ada"
    with pytest.raises(NotAuthorized, match="or a token of the OpenID provider the same way"):
        await found.who(Headers(HERE), "10.0.0.9")
    with pytest.raises(NotAuthorized, match="vouched for has control characters"):
        await found.who(bearer(issuer.token(sub="a~b")), "10.0.0.9")


def behind_proxy(**more: Any) -> Entrance:
    networks = ["10.1.0.0/16", "fd00::/8"]
    found = entrance(proxy_header=WAY, proxy_groups_header="x-groups", proxy_networks=networks, host="0.0.0.0", **more)
    found.know(
        {},
        AccessDocument.model_validate(
            {"people": {"ada": [{"role": "reviewer"}]}, "groups": {"g2": [{"role": "admin"}]}}
        ),
    )
    return found


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"])
async def test_a_proxy_vouches_from_where_it_stands(peer: str) -> None:
    ada = await behind_proxy().who(Headers({WAY: "ada", "x-groups": "g1, g2,"}), peer)
    assert ada.subject == "ada"
    assert ada.may("lease")
    assert ada.may("keys")


@pytest.mark.parametrize("peer", ["10.2.0.1", "127.0.0.1", "::1", "192.0.2.7", None, "", "nonsense"])
async def test_the_header_is_believed_from_nowhere_else(peer: str | None) -> None:
    with pytest.raises(NotAuthorized, match="come by the proxy"):
        await behind_proxy().who(Headers({**HERE, WAY: "ada"}), peer)


async def test_a_proxy_with_a_secret_has_to_show_it() -> None:
    found = behind_proxy(proxy_secret="between us")
    for shown in ({}, {"x-proxy-secret": ""}, {"x-proxy-secret": "between"}):
        with pytest.raises(NotAuthorized):
            await found.who(Headers({WAY: "ada", **shown}), "10.1.2.3")
    assert (await found.who(Headers({WAY: "ada", "x-proxy-secret": "between us"}), "10.1.2.3")).subject == "ada"


async def test_a_header_that_came_twice_names_nobody() -> None:
    """A proxy that adds its header beside the one that a stranger sent must not be a way in."""
    twice = Headers(raw=[(WAY.encode(), b"admin"), (WAY.encode(), b"ada")])
    groups = Headers(raw=[(WAY.encode(), b"ada"), (b"x-groups", b"g2"), (b"x-groups", b"g1")])
    for headers in (twice, groups):
        with pytest.raises(NotAuthorized, match="came more than once; have the proxy replace it"):
            await behind_proxy().who(headers, "10.1.2.3")


@pytest.mark.parametrize(
    "foreign",
    [
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"},
        {"origin": "null"}, {"origin": "https://review.example", "sec-fetch-site": "cross-site"},
    ],
)  # fmt: skip
async def test_another_site_s_page_does_not_come_in_by_a_browser_s_cookie(foreign: dict[str, str]) -> None:
    base = {WAY: "ada", "host": "review.example"}
    with pytest.raises(NotAuthorized, match="a page of another site asks"):
        await behind_proxy().who(Headers({**base, **foreign}), "10.1.2.3")
    for own in ({"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {"origin": "https://review.example"}):
        assert (await behind_proxy().who(Headers({**base, **own}), "10.1.2.3")).subject == "ada"


@pytest.mark.parametrize("name", ["a~b", "x" * 121, "a\tb"])
async def test_a_name_that_could_be_mistaken_is_refused(name: str) -> None:
    with pytest.raises(NotAuthorized, match="the name that was vouched for"):
        await behind_proxy().who(Headers({WAY: name}), "10.1.2.3")


async def test_a_wrong_key_is_not_made_up_for_by_the_proxy() -> None:
    with pytest.raises(NotAuthorized, match="this is no key"):
        await behind_proxy().who(Headers({WAY: "ada", "authorization": "Bearer wrong"}), "10.1.2.3")
    basic = Headers({WAY: "ada", "authorization": "Basic YTpi"})  # the proxy's own log-in, passed on
    assert (await behind_proxy().who(basic, "10.1.2.3")).subject == "ada"


async def test_wrong_keys_from_one_address_are_slowed_down_and_right_ones_are_not() -> None:
    made, found = new_key(), entrance(host="0.0.0.0", failures_per_minute=1)
    found.know({made.prefix: document(made.key)}, None)
    for _ in range(60):
        with pytest.raises(NotAuthorized):
            await found.who(bearer("wrong"), "192.0.2.1")
    with pytest.raises(TooOften, match="too many wrong keys came from this address") as refused:
        await found.who(bearer("wrong"), "192.0.2.1")
    assert 50 <= (refused.value.retry_after or 0) <= 60
    assert (await found.who(bearer(made.key), "192.0.2.1")).subject == "pacs"
    with pytest.raises(NotAuthorized):
        await found.who(bearer("wrong"), "192.0.2.2")
    for _ in range(100):  # who shows nothing tries nothing
        with pytest.raises(NotAuthorized):
            await found.who(Headers(HERE), "192.0.2.1")


async def test_every_key_is_held_to_the_setting_s_rate_and_people_too(issuer: Provider) -> None:
    first, second = new_key(), new_key()
    found = entrance(rate_limit=0.01, oidc_issuer=issuer.url, oidc_audience=AUDIENCE)
    found.know({first.prefix: document(first.key), second.prefix: document(second.key, rate=1e6)}, None)
    for token in (first.key, issuer.token()):
        await found.who(bearer(token), "127.0.0.1")
        with pytest.raises(TooOften, match=r"may ask 0\.01 times a second"):
            await found.who(bearer(token), "127.0.0.1")
    for _ in range(100):
        await found.who(bearer(second.key), "127.0.0.1")


async def test_who_is_held_back_is_told_of_once_a_while(caplog: pytest.LogCaptureFixture) -> None:
    made = new_key()
    found = entrance(rate_limit=0.01, failures_per_minute=0.01)
    found.know({made.prefix: document(made.key)}, None)
    refused = []
    for token in [made.key] * 20 + ["wrong"] * 80:
        try:
            await found.who(bearer(token), "192.0.2.1")
        except TooOften as error:
            refused.append(error.limit)
        except NotAuthorized:
            pass
    assert (refused.count("rate"), refused.count("failures")) == (19, 20)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["somebody asks too often", "too many wrong keys come from an address"]
    assert made.key not in caplog.text


@pytest.mark.parametrize(("role", "shut"), [(None, True), ("caller", True), ("admin", False)])
def test_shut_is_a_gateway_that_nobody_could_open_to_others(role: str | None, shut: bool) -> None:
    made, found = new_key(), entrance(host="0.0.0.0")
    found.know({made.prefix: document(made.key, grants=[{"role": role}])} if role else {}, None)
    assert found.shut == shut
    assert not behind_proxy().shut
    assert not entrance(host="0.0.0.0", admin_key_sha256="0" * 64).shut
