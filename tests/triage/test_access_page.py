"""docs/access.md says of roles what the table of roles says, and its commands and settings exist."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

import secondreader
from triage.access.roles import MEANS, PERMISSIONS, ROLES
from triage.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "access.md").read_text("utf-8")


def table() -> str:
    """ROLES as the page shows it."""
    rows = [["permission", "lets", *ROLES], ["---"] * (2 + len(ROLES))]
    for permission in PERMISSIONS:
        rows.append(
            [f"`{permission}`", MEANS[permission], *("x" if permission in held else "" for held in ROLES.values())]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows).replace("|  |", "| |").replace("|  |", "| |")


def test_the_table_of_roles_is_the_code_s() -> None:
    assert set(MEANS) == set(PERMISSIONS)
    assert table() in PAGE, f"docs/access.md shows other roles; put this there:\n{table()}"


def test_the_settings_that_it_names_exist() -> None:
    named = set(re.findall(r"TRIAGE_([A-Z0-9_]+)", PAGE))
    assert named >= {"API_KEY", "ADMIN_KEY_SHA256", "OIDC_ISSUER", "PROXY_HEADER", "RATE_LIMIT"}
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_the_options_that_it_names_exist() -> None:
    helped = CliRunner().invoke(secondreader.main, ["keys", "create", "--help"]).output
    commands = re.findall(r"secondreader keys create([^`\n]*)", PAGE)
    assert len(commands) > 2
    for option in re.findall(r"--[a-z-]+", " ".join(commands)):
        assert option in helped
