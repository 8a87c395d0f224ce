"""Signatures of rules: Ed25519 (RFC 8032), detached, beside the rules: `<data>/rules/<hex>.sig`.

A digest says that rules are what they were; a signature says who let them answer. What is signed is a line that names the
purpose, then the rules' canonical content, so that a signature stands for nothing else. The keys are in keys.py.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_store import files
from model_store.certificates import Digest
from model_store.errors import DocumentError, document_error
from model_store.keys import Fingerprint, fingerprint, trusted_keys
from model_store.rules import Rules

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_PURPOSE = b"second reader rules 1\n"


class Signature(BaseModel):
    """The content of a `.sig` file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    rules: Digest
    key: Fingerprint
    signature: Annotated[str, Field(max_length=100)]
    """Base64 of the 64 bytes."""


def needs_signature(rules: Rules) -> bool:
    """Whether these rules let anything be answered.

    Rules under which everything is `assist` or `human` take nothing out of people's hands. Gateways make such rules themselves
    for a site without rules of its own, hold no private key, and need none for them.
    """
    return any(rule.state == "automatic" or rule.absent_below is not None for rule in rules.classes.values())


def path_of(rules_file: Path) -> Path:
    """Where the signature of a rules file lies."""
    return rules_file.with_suffix(".sig")


def sign(rules: Rules, key: Ed25519PrivateKey) -> Signature:
    made = key.sign(_PURPOSE + rules.content())
    return Signature(
        rules=rules.digest, key=fingerprint(key.public_key()), signature=base64.b64encode(made).decode("ascii")
    )


def write(rules_file: Path, signature: Signature) -> Path:
    """Stores a signature beside the rules; one that is there already, by another key, is replaced."""
    path = path_of(rules_file)
    files.replace(path, (signature.model_dump_json(indent=1) + "\n").encode())
    return path


def read(rules_file: Path) -> Signature:
    """Raises DocumentError when there is none, or the file is not one."""
    path = path_of(rules_file)
    try:
        return Signature.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DocumentError(
            f"rules sha256:{rules_file.stem[:12]} are not signed ({path} does not exist); if you vouch for them: "
            f"secondreader rules sign {rules_file} --key KEY"
        ) from None
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}; mend the file, or sign the rules again") from None
    except ValidationError as error:
        raise DocumentError(f"{document_error(path, error)}; sign the rules again") from None


def verify(rules: Rules, signature: Signature, trusted: Mapping[str, Ed25519PublicKey], where: Path) -> None:
    """Raises DocumentError unless a trusted key (see `trusted_keys`) signed these rules. `where` names its folder."""
    from cryptography.exceptions import InvalidSignature

    shown = rules.digest[:19]
    if signature.rules != rules.digest:
        raise DocumentError(f"the signature beside rules {shown} is of other rules, {signature.rules[:19]}; sign these")
    if signature.key not in trusted:
        raise DocumentError(
            f"rules {shown} are signed by the key {signature.key[:20]}, which is not trusted here; have a trusted key sign "
            f"them, or put its public key into {where}: secondreader rules trust PUBLIC.pem"
        )
    try:
        raw = base64.b64decode(signature.signature, validate=True)
        trusted[signature.key].verify(raw, _PURPOSE + rules.content())
    except (InvalidSignature, ValueError):  # ValueError: no base64
        raise DocumentError(
            f"the signature of rules {shown} is not by the key {signature.key[:20]} that it names: rules or signature were "
            "changed after signing; certify or sign again"
        ) from None


def check(rules: Rules, rules_file: Path, folder: Path) -> None:
    """Raises DocumentError unless the rules allow nothing, or a key whose public half lies in `folder` signed them."""
    if needs_signature(rules):
        verify(rules, read(rules_file), trusted_keys(folder), folder)
