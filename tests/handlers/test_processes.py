"""A group is ended whole, whatever its members do about signals."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from handlers.processes import Group

FAMILY = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, {on_term})
subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
print("started", flush=True)
time.sleep(600)
"""


def start(folder: Path, on_term: str) -> Group:
    output = folder / "output"
    group = Group([sys.executable, "-c", FAMILY.format(on_term=on_term)], folder, os.environ, output)
    end = time.monotonic() + 30
    while "started" not in output.read_text() or len(group.members()) < 2:
        assert time.monotonic() < end, output.read_text()
        time.sleep(0.01)
    return group


@pytest.fixture(params=["signal.SIG_DFL", "signal.SIG_IGN"])
def family(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Group]:
    """A parent that ends at SIGTERM or ignores it, with a child that ignores it."""
    group = start(tmp_path, request.param)
    yield group
    group.kill()


def test_kill_leaves_nobody(family: Group) -> None:
    assert family.exit_code() is None
    family.kill()
    assert family.members() == []
    assert family.exit_code() is not None


def test_end_leaves_nobody_either(family: Group) -> None:
    family.end(grace_s=0.2)
    assert family.members() == []


def test_a_leader_that_died_takes_its_children_along_at_the_end(tmp_path: Path) -> None:
    group = start(tmp_path, "signal.SIG_DFL")
    os.kill(group.pid, 9)
    group.end(grace_s=0)
    assert group.members() == []
    group.kill()
