"""`/v2` by KServe's own client, unmodified, in an environment of its own."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bundles import picture
from tests.triage.serving import KEY, Served

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "kserve" / "bin" / "python"


def test_kserves_client_gets_predictions(served: Served, tmp_path: Path, require: Callable[[str, bool], None]) -> None:
    require("KServe's client (make kserve)", PYTHON.exists())
    images = []
    for colour in ("red", "blue"):
        images.append(tmp_path / f"{colour}.png")
        images[-1].write_bytes(picture(colour, salt=400))
    ended = subprocess.run(
        [str(PYTHON), str(ROOT / "tests" / "kserve" / "ask.py"), served.gateway.url, KEY, *map(str, images)],
        capture_output=True, text=True, timeout=120, check=False, env={"NO_PROXY": "127.0.0.1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert (told["live"], told["ready"], told["model"], told["no model"]) == (True, True, True, False)
    for binary in (True, False):
        reply = told[f"binary {binary}"]
        assert (reply["request"], reply["route"], reply["labels"]) == ("mine", ["automatic", "review"], ["red", ""])
        assert reply["probability"][0][0] == pytest.approx(1, abs=0.01)
    assert "400" in told["refused"] or "422" in told["refused"]


def test_the_lock_of_its_environment_holds_pins_and_hashes_only() -> None:
    for line in (ROOT / "tests" / "kserve" / "requirements.lock").read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9-]+==\S+( ; .+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line), line
