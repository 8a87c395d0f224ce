"""The command line: every command is there, helps without its packages, and says what to do about a mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import secondreader


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(secondreader.main, list(arguments))
    return result.exit_code, result.output


def test_help_lists_every_command_and_imports_no_package() -> None:
    heavy = "{'torch', 'fastapi', 'redis', 'onnxruntime', 'pyarrow', 'triage', 'training', 'handlers', 'embedded'}"
    program = (
        "import sys, secondreader, click\n"
        "try: secondreader.main(['--help'])\n"
        "except SystemExit as end: code = end.code\n"
        f"print('imported', sorted(set(sys.modules) & {heavy}), code)\n"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "imported [] 0" in output
    for name in secondreader.COMMANDS:
        assert f"\n  {name} " in output


@pytest.mark.parametrize("name", secondreader.COMMANDS)
def test_every_command_has_help_of_its_own(name: str) -> None:
    code, output = run(name, "--help")
    assert code == 0
    assert "Usage:" in output


def test_a_command_whose_role_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")

    monkeypatch.setattr("importlib.import_module", missing)
    code, output = run("serve")
    assert code == 1
    assert "serve needs fastapi, which is not installed; pip install 'secondreader[gateway]'" in output


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("unknown",), 2, "No such command 'unknown'"),
        (("serve", "--port", "99999"), 2, "port = 99999"),
        (("explain", "0"), 1, "nothing was recorded in data"),
        (("predict", __file__, "--url", "http://127.0.0.1:9"), 1, "nothing answers at http://127.0.0.1:9"),
        (("recover", "--redis-url", "redis://127.0.0.1:9"), 1, "journal holds no journal"),
        (("up", "--data", "nowhere"), 1, "nowhere cannot be served"),
        (("train", "no-such.toml"), 1, "no-such.toml"),
    ],
)
def test_a_mistake_is_one_sentence_and_no_traceback(
    arguments: tuple[str, ...], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, output = run(*arguments)
    assert (found, says in output) == (code, True), output
    assert "Traceback" not in output


def test_doctor_says_what_is_wrong_and_how_to_mend_it(tmp_path: Path) -> None:
    code, output = run("doctor", "--data", str(tmp_path), "--redis-url", "redis://127.0.0.1:9", "--json")
    assert code == 1
    assert "Redis does not answer" in output
    assert "is TRIAGE_REDIS_URL right?" in output
    assert "PUT /v1/projects/default/sites/default" in output
