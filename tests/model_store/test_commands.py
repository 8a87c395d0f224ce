"""`secondreader rules`: what may answer, and who said so."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import secondreader
from model_store import keys, signing
from model_store import rules as rule_files
from model_store.conditions import Condition
from model_store.rules import Rules
from tests import bundles


@pytest.fixture
def made(tmp_path: Path) -> Rules:
    conditions = (Condition(field="scanner", one_of=("x1", "x2")),)
    return bundles.signed(tmp_path, bundles.sealed(bundles.rules(bundles.make(tmp_path)), conditions=conditions))


def run(data: Path, *arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(secondreader.main, ["rules", *arguments, "--data", str(data)], env={"COLUMNS": "200"})
    assert "Traceback" not in ended.output
    return ended.exit_code, ended.output


def pem(folder: Path) -> tuple[Path, Path]:
    """A private and a public key file, as openssl writes them."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / "private.pem", folder / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def test_show_says_states_proof_signature_conditions_and_end(tmp_path: Path, made: Rules) -> None:
    code, told = run(tmp_path, "show", made.digest)
    assert code == 0
    assert re.search(r"red\W+automatic\W+0\.900\W+0\.95\W+≥ 0\.960\W+1 of 200", told)
    assert "blue: 59 more correct firings" in told
    assert "scanner is x1 or x2" in told
    assert re.search(r"signature\s+valid, by ed25519:[0-9a-f]{64}", told)
    assert "hold until 2100-01-01 00:00 UTC" in told


def test_show_as_json_by_a_few_digits_or_by_file(tmp_path: Path, made: Rules) -> None:
    for name in (
        made.digest[:15],
        made.digest.removeprefix("sha256:")[:8],
        str(rule_files.path_of(tmp_path, made.digest)),
    ):
        code, told = run(tmp_path, "show", name, "--json")
        found = json.loads(told)
        assert code == 0
        assert (found["digest"], found["expired"], found["valid_until"]) == (
            made.digest,
            False,
            "2100-01-01T00:00:00+00:00",
        )
        assert found["signature"].startswith("valid, by ed25519:")
        assert Rules.model_validate(found["rules"]) == made


def test_rules_that_are_not_signed_are_shown_and_not_verified(tmp_path: Path, made: Rules) -> None:
    signing.path_of(rule_files.path_of(tmp_path, made.digest)).unlink()
    code, told = run(tmp_path, "show", made.digest)
    assert (code, "NOT VALID" in told) == (0, True)
    code, told = run(tmp_path, "verify", made.digest)
    assert code == 1
    assert "are not signed" in told


def test_verify_says_who_signed_and_until_when(tmp_path: Path, made: Rules) -> None:
    code, told = run(tmp_path, "verify", made.digest)
    assert code == 0
    assert re.fullmatch(
        rf"rules {made.digest}: signed by ed25519:[0-9a-f]{{64}}; hold until 2100-01-01 00:00 UTC\n", told
    )


def test_verify_refuses_rules_that_have_ended(tmp_path: Path, made: Rules) -> None:
    ended = bundles.certificate(valid_until=bundles.WHEN + datetime.timedelta(days=1))
    old = bundles.sealed(
        made, classes={**made.classes, "red": made.classes["red"].model_copy(update={"certificate": ended})}
    )
    bundles.signed(tmp_path, old)
    code, told = run(tmp_path, "verify", old.digest)
    assert (code, "ended on 2026-01-02; certify again" in told) == (1, True)
    assert "ENDED on 2026-01-02" in run(tmp_path, "show", old.digest)[1]


def test_another_key_signs_and_is_trusted_elsewhere(tmp_path: Path, made: Rules) -> None:
    private, public = pem(tmp_path)
    elsewhere = tmp_path / "gateway-keys"
    code, told = run(tmp_path, "sign", made.digest, "--key", str(private))
    assert (code, "signed by ed25519:" in told) == (0, True)
    code, told = run(tmp_path, "verify", made.digest, "--trusted", str(elsewhere))
    assert (code, "which is not trusted here" in told) == (1, True)
    code, told = run(tmp_path, "trust", str(public), "--trusted", str(elsewhere))
    assert (code, keys.fingerprint(keys.read_public(public)) in told) == (0, True)
    assert run(tmp_path, "verify", made.digest, "--trusted", str(elsewhere))[0] == 0
    assert run(tmp_path, "verify", made.digest)[0] == 1, "the data folder's own trust is another"


def test_a_private_key_is_never_trusted(tmp_path: Path) -> None:
    private, _ = pem(tmp_path)
    code, told = run(tmp_path, "trust", str(private))
    assert (code, "holds a private key" in told) == (1, True)
    assert not keys.trusted_folder(tmp_path).exists()


def test_rules_that_were_edited_cannot_be_signed(tmp_path: Path, made: Rules) -> None:
    path = rule_files.path_of(tmp_path, made.digest)
    path.write_bytes(path.read_bytes().replace(b"0.9,", b"0.5,", 1))
    for command in ("sign", "verify", "show"):
        code, told = run(tmp_path, command, str(path))
        assert (code, "was changed after it was certified" in told) == (1, True)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sha256:" + "0" * 64, "certify the bundle, or name an existing rules file"),
        ("0000000000", "holds no rules 0000000000; certify a bundle"),
        ("red", "'red' is no digest of rules; give 8 or more of its hex digits"),
        ("*", "'*' is no digest of rules"),
    ],
)
def test_rules_that_are_not_there(tmp_path: Path, made: Rules, name: str, says: str) -> None:
    code, told = run(tmp_path, "show", name)
    assert (code, says in told) == (1, True)
