"""docs/control.md says what the code does: its table of kinds, its files, its commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from secondreader import COMMANDS
from triage.commands.release import release
from triage.control.declared import SITE, read
from triage.control.kinds import KINDS, Kind

PAGE = (Path(__file__).parents[2] / "docs" / "control.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("kind", [SITE, *KINDS.values()], ids=lambda kind: kind.name)
def test_every_kind_is_in_the_table(kind: Kind[Any]) -> None:
    where = kind.path("P", "PREFIX" if kind.name == "key" else "NAME")
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{kind.name}` |"))
    assert f"`{where}`" in row
    assert row.endswith(f"`{kind.write}` |")


@pytest.mark.parametrize("example", blocks("yaml"))
def test_every_file_can_be_read(tmp_path: Path, example: str) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(example)
    assert read([path])


def test_every_command_of_the_page_exists() -> None:
    commands = set(re.findall(r"^secondreader (\w+)", PAGE, re.MULTILINE))
    assert commands == {"apply", "diff"}
    assert commands <= set(COMMANDS)
    told = set(re.findall(r"^\| `(\w+)[ `]", PAGE.split("## Releases")[1].split("## Kill")[0], re.MULTILINE))
    assert set(release.commands) == told - {"secondreader"}
