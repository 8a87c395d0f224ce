"""API keys: their shape, what is stored of them, and whose they are."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
from pydantic import ValidationError

from triage.access.key_document import KeyDocument, digest, new_key, prefix_of
from triage.access.keyring import Keyring
from triage.access.principal import FIRST
from triage.access.roles import ROLES
from triage.errors import NotAuthorized

NOW = datetime.datetime.now(datetime.UTC)
HOUR = datetime.timedelta(hours=1)


def document(key: str, **changes: Any) -> KeyDocument:
    fields = {"sha256": digest(key), "subject": "pacs", "grants": [{"role": "caller"}], "created_at": NOW, **changes}
    return KeyDocument.model_validate(fields)


def test_a_key_has_a_name_and_160_random_bits() -> None:
    made = [new_key() for _ in range(200)]
    assert len({each.prefix for each in made}) == len({each.key for each in made}) == 200
    for prefix, key in made:
        assert re.fullmatch(r"sr_[a-z2-7]{8}_[a-z2-7]{32}", key)  # 32 characters of 5 bits
        assert prefix_of(key) == prefix
    letters = {each.key[-1] for each in made}
    assert len(letters) > 16  # the last ones are as random as the first


@pytest.mark.parametrize("key", ["", "sr_", "sr_abcdefgh", "sr_abcdefgh_short", "sr_ABCDEFGH_" + "a" * 32, "x" * 44])
def test_what_has_not_the_shape_of_a_key_is_none(key: str) -> None:
    assert prefix_of(key) is None


def test_the_document_knows_the_key_and_does_not_tell_it() -> None:
    made = new_key()
    stored = document(made.key).model_dump_json()
    assert made.key not in stored
    assert made.key.rsplit("_", 1)[1] not in stored
    assert digest(made.key) in stored


def test_only_the_right_key_opens() -> None:
    first, second = new_key(), new_key()
    keyring = Keyring()
    keyring.know({first.prefix: document(first.key), second.prefix: document(second.key, subject="lab")})
    assert keyring.principal(first.key).subject == "pacs"
    assert keyring.principal(second.key).key == second.prefix
    wrong = [
        new_key().key, first.key[:-1] + ("a" if first.key[-1] != "a" else "b"), first.key.upper(), first.key + " ", "",
        f"sr_{first.prefix}_{second.key.rsplit('_', 1)[1]}", digest(first.key), "käse", "sr_" * 10_000,
    ]  # fmt: skip
    for key in wrong:
        with pytest.raises(NotAuthorized, match="this is no key of this service; send one as"):
            keyring.principal(key)


def test_only_its_holder_hears_that_a_key_has_ended() -> None:
    made = new_key()
    keyring = Keyring()
    for changes, says in (
        ({"expires_at": NOW - HOUR}, f"this key expired on {NOW - HOUR:%Y-%m-%d}; ask an admin for another"),
        ({"revoked_at": NOW - HOUR}, f"this key was revoked on {NOW - HOUR:%Y-%m-%d}; ask an admin for another"),
    ):
        keyring.know({made.prefix: document(made.key, **changes)})
        with pytest.raises(NotAuthorized, match=says):
            keyring.principal(made.key)
        with pytest.raises(NotAuthorized, match="this is no key"):
            keyring.principal(made.key[:-3] + "aaa")
    keyring.know({made.prefix: document(made.key, expires_at=NOW + HOUR)})
    assert keyring.principal(made.key).subject == "pacs"


def test_a_key_that_is_in_no_document_any_more_is_none() -> None:
    made = new_key()
    keyring = Keyring()
    keyring.know({made.prefix: document(made.key)})
    keyring.principal(made.key)
    keyring.know({})
    with pytest.raises(NotAuthorized):
        keyring.principal(made.key)
    assert keyring.empty


def test_a_key_that_was_revoked_still_counts_as_one() -> None:
    """The last revocation must not let programs of this machine in without any."""
    made, keyring = new_key(), Keyring()
    keyring.know({made.prefix: document(made.key, revoked_at=NOW)})
    assert not keyring.empty


def test_the_first_admin_s_key_is_known_by_its_digest_alone() -> None:
    keyring = Keyring(digest("a long secret of somebody's own"))
    assert keyring.principal("a long secret of somebody's own") == FIRST
    assert keyring.admins()
    assert not keyring.empty
    assert FIRST.may("keys")
    assert not FIRST.may("predict")


def test_an_admin_is_whoever_may_make_keys_now() -> None:
    made, keyring = new_key(), Keyring()
    for role in ROLES:
        for ended in ({}, {"revoked_at": NOW - HOUR}, {"expires_at": NOW - HOUR}):
            keyring.know({made.prefix: document(made.key, grants=[{"role": role}], **ended)})
            assert keyring.admins() == (role == "admin" and not ended)


def test_a_grant_binds_a_role_to_projects_and_sites() -> None:
    made, keyring = new_key(), Keyring()
    grants = [{"role": "caller", "projects": ["skin"], "sites": ["north", "south"]}, {"role": "auditor"}]
    keyring.know({made.prefix: document(made.key, grants=grants)})
    principal = keyring.principal(made.key)
    assert principal.may("predict", "skin", "north")
    assert not principal.may("predict", "skin", "west")
    assert not principal.may("predict", "lung", "north")
    assert principal.may("log.read", "lung", "west")
    assert principal.sites("predict", "skin") == frozenset({"north", "south"})
    assert principal.sites("predict", "lung") == frozenset()
    assert principal.sites("log.read", "lung") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"sha256": "secret"}, {"subject": ""}, {"subject": "a~b"}, {"subject": "a\nb"}, {"grants": []},
        {"grants": [{"role": "god"}]}, {"grants": [{"role": "caller", "projects": []}]}, {"rate": 0},
        {"grants": [{"role": "caller", "sites": ["No Such"]}]}, {"expires_at": "2030-01-01T00:00:00"}, {"secret": "x"},
    ],
)  # fmt: skip
def test_a_document_that_says_something_else_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        document(new_key().key, **wrong)
