"""Keys: the private one is its owner's alone, the public ones are checked before they are believed."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from model_store import keys
from model_store.errors import DocumentError


def test_the_first_use_makes_a_key_that_its_owner_alone_can_read(tmp_path: Path) -> None:
    key = keys.signing_key(tmp_path)
    path = tmp_path / "keys" / "signing.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(keys.trusted_keys(keys.trusted_folder(tmp_path))) == {keys.fingerprint(key.public_key())}
    assert keys.signing_key(tmp_path).private_bytes_raw() == key.private_bytes_raw()
    assert [each.name for each in path.parent.iterdir() if each.suffix == ".partial"] == []


def test_of_many_first_uses_at_once_all_have_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: keys.signing_key(tmp_path).private_bytes_raw(), range(16)))
    assert len(set(made)) == 1
    assert len(keys.trusted_keys(keys.trusted_folder(tmp_path))) == 1


def test_a_key_that_is_named_is_used_and_trusted_by_nobody_yet(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    named = tmp_path / "mine.pem"
    named.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert keys.signing_key(tmp_path, named).private_bytes_raw() == key.private_bytes_raw()
    assert not (tmp_path / "keys").exists()
    assert keys.trusted_keys(keys.trusted_folder(tmp_path)) == {}


def test_each_wrong_private_key_is_one_sentence(tmp_path: Path) -> None:
    locked = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
    )
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path / "k.pem"
    for content, says in (
        (None, "No such file or directory; name an existing key file"),
        (b"nothing", "is no private key in PEM; make one: openssl genpkey -algorithm ed25519"),
        (locked, "is protected by a passphrase; give the key without one"),
        (curve, "is no Ed25519 key; make one: openssl genpkey"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DocumentError, match=str(path)) as caught:
            keys.read_private(path)
        assert says in str(caught.value)


def test_each_wrong_public_key_is_one_sentence(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    path = tmp_path / "trusted" / "k.pem"
    path.parent.mkdir()
    for content, says in (
        (private, "holds a private key, which has to stay with whoever certifies; take it away"),
        (b"", "is no public key in PEM; give what openssl pkey -pubout writes"),
        (curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "is no Ed25519 key"),
    ):
        path.write_bytes(content)
        with pytest.raises(DocumentError) as caught:
            keys.trusted_keys(path.parent)
        assert says in str(caught.value)


def test_a_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file where the folder should be")
    with pytest.raises(DocumentError, match="mend the folder's owner, or name a key with --key"):
        keys.signing_key(tmp_path)
