"""Ed25519 keys: the private one of whoever certifies, the public ones that whoever serves trusts.

    <data>/keys/signing.pem      private, readable by its owner alone; made at first use where no other is named
    <data>/keys/trusted/*.pem    public; a gateway may be told another folder

`cryptography` is imported where it is used: reading what is not signed stays light.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from model_store import files
from model_store.errors import DocumentError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_MADE_BY = "openssl genpkey -algorithm ed25519 -out signing.pem"
Fingerprint = Annotated[str, Field(pattern=r"^ed25519:[0-9a-f]{64}$")]


def fingerprint(key: Ed25519PublicKey) -> str:
    """`ed25519:` and the SHA-256 of the key's 32 bytes."""
    return "ed25519:" + hashlib.sha256(key.public_bytes_raw()).hexdigest()


def trusted_folder(data: Path) -> Path:
    return data / "keys" / "trusted"


def trusted_keys(folder: Path) -> dict[str, Ed25519PublicKey]:
    """Public keys by fingerprint: every `*.pem` in a folder, none when it does not exist. Raises DocumentError."""
    try:
        found = sorted(folder.glob("*.pem")) if folder.is_dir() else []
        keys = [read_public(path) for path in found]
    except OSError as error:
        raise DocumentError(f"{folder}: {error.strerror}; mend its owner or permissions") from None
    return {fingerprint(key): key for key in keys}


def read_public(path: Path) -> Ed25519PublicKey:
    """Raises DocumentError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _bytes(path)
    if b"PRIVATE KEY" in content:
        raise DocumentError(
            f"{path} holds a private key, which has to stay with whoever certifies; take it away and give its public half: "
            f"openssl pkey -in {path.name} -pubout"
        )
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise DocumentError(f"{path} is no public key in PEM; give what openssl pkey -pubout writes") from None
    if not isinstance(key, Ed25519PublicKey):
        raise DocumentError(f"{path} is no Ed25519 key; make one: {_MADE_BY}")
    return key


def read_private(path: Path) -> Ed25519PrivateKey:
    """Raises DocumentError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_bytes(path), password=None)
    except TypeError:
        raise DocumentError(f"{path} is protected by a passphrase; give the key without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise DocumentError(f"{path} is no private key in PEM; make one: {_MADE_BY}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise DocumentError(f"{path} is no Ed25519 key; make one: {_MADE_BY}")
    return key


def signing_key(data: Path, named: Path | None = None) -> Ed25519PrivateKey:
    """The key that is named, else the data folder's own, which is made at first use and trusted by that folder's gateways.

    Raises DocumentError.
    """
    if named is not None:
        return read_private(named)
    path = data / "keys" / "signing.pem"
    if path.exists():
        return read_private(path)
    try:
        return _make(data, path)
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}; mend the folder's owner, or name a key with --key") from None


def trust(folder: Path, key: Ed25519PublicKey) -> Path:
    """Puts a public key among those that are trusted; doing it twice changes nothing."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    path = folder / f"{fingerprint(key).removeprefix('ed25519:')[:16]}.pem"
    files.replace(path, key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def _make(data: Path, path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    mine = Ed25519PrivateKey.generate()
    files.create_once(path, mine.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    key = read_private(path)  # of two that certify at once one makes the key, and both sign with it
    trust(trusted_folder(data), key.public_key())
    return key


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}; name an existing key file") from None
