"""Webhooks' pure parts: signatures, addresses that are refused, the window of messages under way."""

from __future__ import annotations

import base64
import random
import socket
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from triage import webhook_signature as signature
from triage.control.webhook_document import WebhookDocument
from triage.outcomes.endpoints import EndpointRefused, PublicOnly, check_url, is_public
from triage.outcomes.position import Feed, StreamId
from triage.outcomes.window import Message, Window
from triage.webhook_signature import SignatureError

FEED = Feed("lab.review")
SECRET = b"0123456789abcdef01234567"


def document(**changes: Any) -> WebhookDocument:
    return WebhookDocument.model_validate(
        {"url": "https://example.org/hook", "secrets": ["env:WEBHOOK_SECRET_LAB"], "first_retry_s": 1, **changes}
    )


def headers(body: bytes, at: int = 1000, secret: bytes = SECRET, message: str = "msg_1") -> dict[str, str]:
    signed = signature.signatures([secret], message, at, body)
    return {"Webhook-Id": message, "Webhook-Timestamp": str(at), "Webhook-Signature": signed}


def test_the_signature_is_the_one_that_the_specification_gives() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    made = signature.signatures([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_is_taken_by_any_known_secret_and_changed_ones_are_not() -> None:
    body = b'{"type":"final"}'
    other = b"x" * 32
    assert signature.check([other, SECRET], headers(body), body, now=1100) == "msg_1"
    two = {**headers(body), "Webhook-Signature": signature.signatures([other, SECRET], "msg_1", 1000, body)}
    assert signature.check([SECRET], two, body, now=1000) == "msg_1"
    changes: list[dict[str, Any]] = [
        {"body": b'{"type":"finak"}'}, {"secrets": [other]}, {"now": 1301.0}, {"now": 699.0},
        {"headers": headers(body) | {"Webhook-Id": "msg_2"}}, {"headers": headers(body) | {"Webhook-Timestamp": "1001"}},
        {"headers": headers(body) | {"Webhook-Timestamp": "soon"}}, {"headers": {}},
        {"headers": headers(body) | {"Webhook-Signature": "v1a," + "A" * 44}},
        {"headers": headers(body) | {"Webhook-Signature": "\N{SNOWMAN}"}},
    ]  # fmt: skip
    for changed in changes:
        given: dict[str, Any] = {"secrets": [SECRET], "headers": headers(body), "body": body, "now": 1000.0, **changed}
        with pytest.raises(SignatureError, match=r";"):
            signature.check(**given)


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!!!", "whsec_c2hvcnQ=", "whsec_" + "A" * 200])
def test_a_weak_or_broken_secret_is_refused_and_not_told(text: str) -> None:
    with pytest.raises(SignatureError) as caught:
        signature.secret_bytes(text)
    assert not text.removeprefix("whsec_") or text.removeprefix("whsec_") not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
     "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1", "::127.0.0.1", "::ffff:0:127.0.0.1",
     "64:ff9b:1::7f00:1", "fec0::1", "192.0.0.192"],
)  # fmt: skip
def test_private_addresses_are_known_in_every_guise(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    ["http://example.org/", "https://127.0.0.1/", "https://[::1]/", "https://127.1/", "https://2130706433/", "https://0/",
     "https://[::ffff:169.254.169.254]/", "https://169.254.169.254/latest", "https://10.0.0.1:8443/x"],
)  # fmt: skip
def test_an_address_is_refused_before_anything_is_looked_up(url: str) -> None:
    with pytest.raises(EndpointRefused, match="webhook_hosts"):
        check_url(url, ())


def test_a_listed_host_may_be_called_and_its_neighbours_not() -> None:
    check_url("http://127.0.0.1:9000/x", {"127.0.0.1:9000"})
    check_url("http://Inside:9000/x", {"inside"})
    with pytest.raises(EndpointRefused):
        check_url("http://127.0.0.1:9001/x", {"127.0.0.1:9000"})


class _Names(AbstractResolver):
    """What a name server says that somebody else owns."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=each, port=port, family=socket.AF_INET, proto=0, flags=0)
            for each in self._addresses
        ]

    async def close(self) -> None: ...


async def test_a_name_that_points_inside_is_connected_to_nowhere() -> None:
    with pytest.raises(EndpointRefused, match="no public address"):
        await PublicOnly((), _Names("127.0.0.1", "169.254.169.254")).resolve("rebound.example", 443)
    mixed = await PublicOnly((), _Names("10.0.0.1", "1.1.1.1")).resolve("mixed.example", 443)
    assert [each["host"] for each in mixed] == ["1.1.1.1"]
    listed = await PublicOnly({"inside"}, _Names("10.0.0.1")).resolve("inside", 80)
    assert [each["host"] for each in listed] == ["10.0.0.1"]


async def test_the_systems_own_names_for_this_machine_are_refused() -> None:
    resolver = PublicOnly(())
    with pytest.raises(EndpointRefused):
        await resolver.resolve("localhost", 443)
    await resolver.close()


@pytest.mark.parametrize(
    "changes",
    [{"url": "ftp://x/"}, {"url": "https://"}, {"url": "https://u:p@x/"}, {"url": "https://x:99999/"}, {"url": "https://x/#a"},
     {"secrets": []}, {"secrets": ["whsec_abc"]}, {"secrets": ["env:HOME"]}, {"secrets": ["file:../key"]},
     {"secrets": ["file:/etc/passwd"]}, {"events": ["rumour"]}, {"tries": 0}],
)  # fmt: skip
def test_documents_that_could_do_harm_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        document(**changes)


def message(n: int, prediction: str = "", born_s: float = 0.0) -> Message:
    return Message(FEED, StreamId(1, n), f"msg_{n}", prediction or f"p{n}", b"{}", born_s)


def window(*messages: Message, **changes: Any) -> Window:
    made = Window(document(**changes), random.Random(1))
    for each in messages:
        made.add(each)
        made.read(FEED, each.at)
    return made


def test_messages_of_one_prediction_go_one_after_the_other() -> None:
    first, second, other = message(1, "a"), message(2, "a"), message(3, "b")
    made = window(first, second, other)
    assert made.start(0) == [first, other]
    made.got_through(other, 1)
    assert made.cursor() == {FEED: first.at.before()}
    assert not made.failed(first, 1, 0)
    assert made.start(1.4) == []  # it waits, and what follows it waits too
    assert made.start(2.1) == [first]
    made.got_through(first, 3)
    assert made.start(3) == [second]
    made.got_through(second, 3)
    assert (made.cursor(), len(made), made.oldest_s()) == ({FEED: other.at}, 0, None)


def test_a_message_that_fails_while_others_get_through_is_given_up() -> None:
    poison = message(1, born_s=0)
    made = window(poison, tries=3)
    now = 0.0
    for turn in range(3):
        (tried,) = made.start(now)
        assert tried is poison
        given_up = made.failed(poison, now, 0)
        good = message(10 + turn)
        made.add(good)
        made.read(FEED, good.at)
        assert given_up == (turn == 2)
        (tried,) = [each for each in made.start(now) if each is good]
        made.got_through(good, now)
        now += 10
    assert made.cursor() == {FEED: poison.at.before()}  # until somebody has written it down
    made.given_up(poison)
    assert made.cursor() == {FEED: StreamId(1, 12)}


def test_a_receiver_that_is_down_is_asked_by_one_message_a_minute_and_none_is_given_up_for_its_tries() -> None:
    made = window(*(message(n) for n in range(20)), at_once=8, tries=2, first_retry_s=1)
    now, tries = 0.0, 0
    for each in made.start(now):
        assert not made.failed(each, now, 0)
    while now < 3600:
        due = made.next_s()
        assert due is not None
        assert due - now < 60.001
        now = max(now, due)
        started = made.start(now)
        assert len(started) == 1
        assert not made.failed(started[0], now, 0)
        tries += 1
    assert tries < 140
    assert len(made) == 20
    due = made.next_s()
    assert due is not None
    (back,) = made.start(due)
    made.got_through(back, due)
    assert len(made.start(due)) == 8  # it is back, and nobody waits for its own time


def test_a_poisoned_message_does_not_hold_up_what_comes_new() -> None:
    poison = message(1)
    made = window(poison)
    now = 0.0
    for _ in range(6):
        now = max(now, made.next_s() or 0)
        assert made.start(now) == [poison]
        made.failed(poison, now, 0)
    new = message(2)
    made.add(new)
    assert (made.next_s() or 0) - now < 60.001
    assert made.start(now + 60) == [new]


def test_everything_is_given_up_in_the_end() -> None:
    old = message(1, born_s=0)
    made = window(old, give_up_hours=1)
    made.start(3600)
    assert made.failed(old, 3600, 0)


def test_who_asks_for_a_pause_is_given_it() -> None:
    made = window(message(1), message(2), at_once=1)
    (first,) = made.start(0)
    made.failed(first, 0, 30.0)
    assert made.start(29) == []
    assert made.next_s() == 30


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=40), st.randoms())
def test_the_cursor_never_passes_what_is_not_done(plan: list[tuple[str, bool]], chance: random.Random) -> None:
    messages = [message(n + 1, prediction) for n, (prediction, _) in enumerate(plan)]
    made = window(*messages)
    told: list[Message] = []
    failing = {each.at: fails for each, (_, fails) in zip(messages, plan, strict=True)}
    now = 0.0
    while len(made):
        assert all(each.at > made.cursor()[FEED] for each in messages if each not in told)
        under_way = made.start(now)
        chance.shuffle(under_way)
        for each in under_way:
            if failing.pop(each.at, False):
                assert not made.failed(each, now, 0)
            else:
                told.append(each)
                made.got_through(each, now)
        now = max(now, made.next_s() or now)
    for prediction in "abc":
        mine = [each.at for each in told if each.prediction == prediction]
        assert mine == sorted(mine)
    assert made.cursor() == {FEED: messages[-1].at}
