"""`secondreader release` over a real gateway: each step is one write on the version that was read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from secondreader import main
from tests import bundles
from tests.triage.serving import KEY, Served


def run(served: Served, *arguments: str, fails: int = 0) -> Any:
    options = ["--url", served.gateway.url, "--key", KEY, "--json"]
    result = CliRunner().invoke(main, ["release", *arguments, *options])
    assert result.exit_code == fails, result.output
    return json.loads(result.output) if not fails else result.output


def test_from_shadow_to_champion_and_back(served: Served) -> None:
    other = bundles.make(served.data.folder, version="2")
    rules = bundles.signed(served.data.folder, bundles.rules(other)).digest
    first = served.data.rules.digest
    assert run(served, "status") == {
        "mode": "live", "model": "colours/1", "rules": first, "challenger": None, "previous": None,
    }  # fmt: skip
    tried = run(served, "shadow", "colours/2")
    assert tried["challenger"] == {"model": "colours/2", "rules": None, "shadow": 1.0, "canary": None}
    tried = run(served, "canary", "colours/2", "--rules", rules, "--share", "0.25")
    assert tried["challenger"] == {"model": "colours/2", "rules": rules, "shadow": None, "canary": 0.25}
    assert run(served, "status") == tried
    put = run(served, "promote")
    assert (put["model"], put["rules"], put["challenger"]) == ("colours/2", rules, None)
    assert put["previous"] == {"model": "colours/1", "rules": first}
    assert served.predict("red", 1)["model"]["version"] == "2"
    back = run(served, "rollback")
    assert (back["model"], back["rules"], back["previous"]) == ("colours/1", first, None)
    assert served.predict("red", 2)["model"]["version"] == "1"
    assert "nothing to go back to" in run(served, "rollback", fails=1)


@pytest.mark.parametrize(
    ("arguments", "fails", "says"),
    [
        (("shadow", "none/1"), 1, "its challenger cannot be opened: no model 'none/1'"),
        (("canary", "colours/1", "--share", "0.1"), 1, "without rules nothing does; name its rules"),
        (("shadow", "colours/1", "--share", "7"), 1, "shadow = 7.0: input should be less than or equal to 1"),
        (("promote",), 1, "there is no challenger to promote"),
        (("promote", "--rules", "sha256:" + "0" * 64), 2, "--rules are of a named model"),
        (("status", "--site", "default"), 2, "'default' names no site; write it like default/default"),
        (("status", "--site", "default/ward-9"), 1, "there is no site default/ward-9; declare it"),
    ],
)
def test_each_mistake_is_one_sentence(served: Served, arguments: tuple[str, ...], fails: int, says: str) -> None:
    assert says in run(served, *arguments, fails=fails)


def test_a_table_for_people(served: Served) -> None:
    result = CliRunner().invoke(main, ["release", "status", "--url", served.gateway.url, "--key", KEY])
    assert result.exit_code == 0
    assert "champion" in result.output
    assert "colours/1" in result.output
