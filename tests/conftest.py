"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def _require(part: str, present: bool) -> None:
    """Return if `present`; otherwise skip on a laptop and fail in CI, where nothing may be missing."""
    if present:
        return
    reason = f"{part} is missing; .ci/run installs it"
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def require() -> Callable[[str, bool], None]:
    """`require("chromium", shutil.which("chromium") is not None)`: go on only where the part is there."""
    return _require


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test under tests/e2e starts real processes; its folder says so, nobody has to remember the mark."""
    for item in items:
        if item.path.is_relative_to(TESTS / "e2e"):
            item.add_marker(pytest.mark.e2e)
