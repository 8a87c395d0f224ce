"""The pages: every link inside the repository leads somewhere, and every decision can be found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "training").rglob("*.md")])
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text("utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_decision_is_listed_with_the_architecture() -> None:
    listed = set(_LINK.findall(ARCHITECTURE))
    assert {f"adr/{path.name}" for path in (ROOT / "docs" / "adr").glob("*.md")} <= listed


def test_every_file_that_the_architecture_names_exists() -> None:
    named = set(re.findall(r"`((?:model_store|handlers|triage|training|embedded)/[\w/]+\.py)`", ARCHITECTURE))
    assert len(named) > 20
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
