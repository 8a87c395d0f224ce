"""The arrows of the architecture, checked: who may import whom, and which names a module may have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("model_store", "handlers", "triage", "training", "embedded")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the packages in `folder` with the project's contracts."""
    return subprocess.run(
        ["lint-imports", "--no-cache", "--config", str(ROOT / "pyproject.toml")],
        executable=str(Path(sys.executable).with_name("lint-imports")),
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def make_tree(folder: Path, files: dict[str, str]) -> Path:
    """Write the four packages with the given modules, all others absent."""
    for package in PACKAGES:
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_contracts_hold() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


def test_a_tree_that_keeps_to_the_arrows_passes(tmp_path: Path) -> None:
    tree = make_tree(
        tmp_path, {"triage/errors.py": "", "triage/policy.py": "import triage.errors\nimport model_store\n"}
    )
    result = lint_imports(tree)
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_forbidden_arrow_is_found(tmp_path: Path) -> None:
    arrows = {
        "siblings": {"handlers/a.py": "import triage\n"},
        "contract": {"model_store/a.py": "def late() -> None:\n    import training\n"},
        "laptop": {"triage/errors.py": "import embedded\n"},
        "no-torch": {"triage/errors.py": "def late() -> None:\n    import torch\n"},
        "upwards": {"triage/policy.py": "import triage.ports\n", "triage/ports.py": ""},
        "in circles": {
            "triage/index/__init__.py": "",
            "triage/index/a.py": "import triage.index.b\n",
            "triage/index/b.py": "import triage.index.a\n",
        },
        "training upwards": {"training/points.py": "import training.certify\n", "training/certify.py": ""},
        "undeclared": {"triage/surprise.py": ""},
    }
    for name, files in arrows.items():
        folder = tmp_path / name
        folder.mkdir()
        result = lint_imports(make_tree(folder, files))
        assert result.returncode == 1, f"{name}: {result.stdout}{result.stderr}"
        assert "1 broken" in result.stdout or "Missing layer" in result.stdout or "surprise" in result.stdout


def test_no_module_hides_one_of_the_standard_library() -> None:
    """An unpacked archive puts its folder on sys.path: a `queue.py` in it would break the standard library."""
    names = {path.stem for package in PACKAGES for path in (ROOT / package).rglob("*.py")} - {"__init__", "__main__"}
    assert names
    assert sorted(names & sys.stdlib_module_names) == []
