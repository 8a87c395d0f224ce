"""Signed rules: what was signed by a trusted key verifies, anything else is one sentence that says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from model_store import keys, signing
from model_store import rules as rule_files
from model_store.errors import DocumentError
from model_store.rules import Rules, assist_rules
from tests import bundles


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    return bundles.rules(bundles.make(tmp_path_factory.mktemp("bundle")))


@pytest.fixture
def stored(tmp_path: Path, rules: Rules) -> Path:
    """A rules file, signed by the folder's own key."""
    path = rule_files.write(tmp_path, rules)
    signing.write(path, signing.sign(rules, keys.signing_key(tmp_path)))
    return path


def refused(path: Path, rules: Rules, trusted: Path) -> str:
    with pytest.raises(DocumentError) as caught:
        signing.check(rules, path, trusted)
    told = str(caught.value)
    assert "\n" not in told
    return told


def test_what_the_folders_key_signed_is_trusted(tmp_path: Path, rules: Rules, stored: Path) -> None:
    signing.check(rules, stored, keys.trusted_folder(tmp_path))
    again = signing.sign(rules, keys.signing_key(tmp_path))
    assert signing.read(stored) == again, "signing is deterministic"


def test_rules_that_allow_nothing_need_no_signature(tmp_path: Path) -> None:
    bundle = bundles.make(tmp_path)
    nothing = assist_rules(bundle.digest, bundle.manifest, "cpu", "default")
    assert not signing.needs_signature(nothing)
    signing.check(nothing, rule_files.write(tmp_path, nothing), keys.trusted_folder(tmp_path))


def test_certified_absence_needs_a_signature(rules: Rules) -> None:
    absent = rules.classes["blue"].model_copy(update={"absent_below": 0.1, "absence": bundles.absence()})
    nothing_fires = {label: rule.model_copy(update={"state": "assist"}) for label, rule in rules.classes.items()}
    nothing_fires["other"] = rules.classes["other"]
    assert not signing.needs_signature(bundles.sealed(rules, classes=nothing_fires))
    assert signing.needs_signature(bundles.sealed(rules, classes={**nothing_fires, "blue": absent}))


def test_no_signature(tmp_path: Path, rules: Rules) -> None:
    path = rule_files.write(tmp_path, rules)
    told = refused(path, rules, keys.trusted_folder(tmp_path))
    assert told.startswith(f"rules {rules.digest[:19]} are not signed")
    assert told.endswith(f"if you vouch for them: secondreader rules sign {path} --key KEY")


def test_a_signature_of_other_rules(tmp_path: Path, rules: Rules, stored: Path) -> None:
    other = bundles.sealed(rules, typicality_floor=0.2)
    path = rule_files.write(tmp_path, other)
    signing.path_of(path).write_bytes(signing.path_of(stored).read_bytes())
    told = refused(path, other, keys.trusted_folder(tmp_path))
    assert told == (
        f"the signature beside rules {other.digest[:19]} is of other rules, {rules.digest[:19]}; sign these"
    )


def test_a_signature_that_was_made_out_to_edited_rules(tmp_path: Path, rules: Rules, stored: Path) -> None:
    """Somebody lowers a floor, renames the file to its new digest and edits the signature's name for it."""
    edited = bundles.sealed(rules, typicality_floor=0.0001)
    path = rule_files.write(tmp_path, edited)
    signature = json.loads(signing.path_of(stored).read_text())
    signing.path_of(path).write_text(json.dumps({**signature, "rules": edited.digest}))
    told = refused(path, edited, keys.trusted_folder(tmp_path))
    assert "were changed after signing; certify or sign again" in told


def test_an_unknown_key(tmp_path: Path, rules: Rules, stored: Path) -> None:
    stranger = Ed25519PrivateKey.generate()
    signing.write(stored, signing.sign(rules, stranger))
    told = refused(stored, rules, keys.trusted_folder(tmp_path))
    assert f"signed by the key {keys.fingerprint(stranger.public_key())[:20]}, which is not trusted here" in told
    assert told.endswith("secondreader rules trust PUBLIC.pem")
    keys.trust(keys.trusted_folder(tmp_path), stranger.public_key())
    signing.check(rules, stored, keys.trusted_folder(tmp_path))


def test_a_key_that_claims_to_be_a_trusted_one(tmp_path: Path, rules: Rules, stored: Path) -> None:
    forged = signing.sign(rules, Ed25519PrivateKey.generate()).model_copy(update={"key": signing.read(stored).key})
    signing.write(stored, forged)
    assert "is not by the key" in refused(stored, rules, keys.trusted_folder(tmp_path))


@given(st.integers(0, 63), st.integers(1, 255))
def test_no_changed_byte_of_a_signature_verifies(rules: Rules, at: int, flip: int) -> None:
    import base64

    key = Ed25519PrivateKey.generate()
    signature = signing.sign(rules, key)
    raw = bytearray(base64.b64decode(signature.signature))
    raw[at] ^= flip
    changed = signature.model_copy(update={"signature": base64.b64encode(bytes(raw)).decode()})
    with pytest.raises(DocumentError, match="changed after signing"):
        signing.verify(rules, changed, {signature.key: key.public_key()}, Path("trusted"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "(whole document): invalid JSON"),
        (b"{}", "rules is missing; add it; sign the rules again"),
        (b"\xff", "sign the rules again"),
    ],
)
def test_a_broken_signature_file(tmp_path: Path, rules: Rules, stored: Path, content: bytes, says: str) -> None:
    signing.path_of(stored).write_bytes(content)
    assert says in refused(stored, rules, keys.trusted_folder(tmp_path))


@pytest.mark.parametrize("text", ["é" * 86, "====", "", "AAAA"])
def test_a_signature_that_is_no_base64_of_64_bytes(tmp_path: Path, rules: Rules, stored: Path, text: str) -> None:
    signing.write(stored, signing.read(stored).model_copy(update={"signature": text}))
    assert "changed after signing" in refused(stored, rules, keys.trusted_folder(tmp_path))
