"""Runs every example of docs/http-api.md, in the page's order, against a real gateway."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bundles import picture
from tests.triage.serving import KEY, Served
from triage.schemas import Problem

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "http-api.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(served: Served, tmp_path: Path) -> Path:
    for place in (tmp_path, served.scans):
        (place / "leaf.png").write_bytes(picture("blue"))
    for salt in range(4):  # somebody's images wait already
        served.predict("blue", 100 + salt)
    return tmp_path


def run(command: list[str], served: Served, folder: Path) -> str:
    environment = {
        **os.environ,
        "URL": served.gateway.url,
        "KEY": KEY,
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "127.0.0.1",
    }
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_shell_examples(served: Served, folder: Path, require: Callable[[str, bool], None]) -> None:
    require("curl", shutil.which("curl") is not None)
    assert len(blocks("sh")) == 11
    told = run(["bash", "-euo", "pipefail", "-c", "\n".join(blocks("sh"))], served, folder)
    assert json.loads((folder / "prediction.json").read_text())["case"] == "plant-7"
    case = json.loads((folder / "case.json").read_text())
    assert (case["status"], len(case["images"])) == ("closed", 2)
    assert json.loads((folder / "verdict.json").read_text())["answers"] == {"blue": "present"}
    assert json.loads((folder / "amended.json").read_text())["answers"] == {"green": "present"}
    assert json.loads((folder / "rules.json").read_text())["classes"]["red"]["state"] == "automatic"
    assert json.loads((folder / "form.json").read_text())["case"] == "plant-7"
    assert json.loads((folder / "reference.json").read_text())["route"] == "review"
    assert json.loads((folder / "truths.json").read_text()) == {
        "truths": [json.loads((folder / "truth.json").read_text())]
    }
    assert (folder / "evidence.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "shown.png").read_bytes().startswith(b"\x89PNG")
    assert "triage_decisions_total" in told


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_each_python_example(served: Served, folder: Path, number: int) -> None:
    if "outcomes" in blocks("python")[number]:
        run([sys.executable, "-W", "error", "-c", blocks("python")[1]], served, folder)
    run([sys.executable, "-W", "error", "-c", blocks("python")[number]], served, folder)


def test_the_page_names_every_route_and_status(served: Served) -> None:
    described = served.http.get("/openapi.json").json()["paths"]
    plain = re.sub(r"(?<=/)[A-Z]+\b", lambda word: f"{{{word[0].lower()}}}", PAGE)
    plain = plain.replace("$id", "{prediction_id}").replace("PROJECT", "{project}")
    plain = plain.replace("$rules", "{digest}").replace("colours/1", "{name}/{version}")
    plain = plain.replace("projects/default/sites/default", "projects/{project}/sites/{site}")
    plain = plain.replace("classes/red", "classes/{label}")
    for path in described:
        assert path in plain, f"{path} is not in docs/http-api.md"
    assert Problem.model_fields.keys() >= {"type", "title", "status", "detail"}
