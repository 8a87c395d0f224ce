"""`secondreader keys` in a data folder's own store, and what a gateway for others asks of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import secondreader
from tests.triage.holders import holder

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(secondreader.main, ["keys", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_first_admin_s_key_is_made_in_the_store_itself(tmp_path: Path) -> None:
    at = ("--data", str(tmp_path / "data"))
    code, key, said = run("create", "--role", "admin", *at)
    assert (code, key[:3]) == (0, "sr_"), said
    listed = json.loads(run("list", *at, "--json")[1])
    assert [(each["subject"], each["state"]) for each in listed] == [("admin", "good")]
    assert "sr_" in run("list", *at)[1]
    assert key.strip() not in run("list", *at)[1] + json.dumps(listed)
    assert run("revoke", listed[0]["prefix"], *at)[0] == 0
    assert json.loads(run("list", *at, "--json")[1])[0]["state"] == "revoked"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("create", "--role", "god"), 2, "'god' is not one of 'caller'"),
        (("create", "--role", "caller", "--project", "No Such"), 2, "grants.0.projects.0 = 'No Such'"),
        (("create", "--role", "caller", "--subject", "a~b"), 2, "subject = 'a~b'"),
        (("revoke", "abcdefgh"), 1, "there is no key abcdefgh; 'secondreader keys list' shows them"),
        (("revoke", "../../x"), 1, "there is no key ../../x"),
        (("list", "--url", "http://127.0.0.1:9"), 1, "nothing answers at http://127.0.0.1:9"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    ended, out, err = run(*arguments, "--data", str(tmp_path))
    assert (ended, says in out + err, "Traceback" in out + err) == (code, True, False), out + err


def test_the_keys_of_a_folder_that_is_not_there_are_not_none(tmp_path: Path) -> None:
    ended, out, err = run("list", "--data", str(tmp_path / "dta"))
    assert (ended, out) == (1, "")
    assert "dta/control is not there; name the service's data folder with --data" in err
    assert not (tmp_path / "dta").exists()


def test_a_gateway_for_others_starts_once_there_is_an_admin(tmp_path: Path) -> None:
    """It is refused before anything is opened, so that no Redis is needed here."""

    def started() -> str:
        command = [sys.executable, "-m", "triage", "--host", "0.0.0.0", "--data", str(tmp_path), "--port", "1"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT).stderr

    assert "listening beyond loopback needs an admin's key" in started()
    holder(tmp_path, "caller")
    assert "listening beyond loopback needs an admin's key" in started()
