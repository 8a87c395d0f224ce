"""The Dockerfiles, read: built from the locks, copying what is there, running as nobody, without a shell in between."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.k8s.manifests import K8S, OVERLAYS, ROOT, container, workloads

IMAGES = sorted(path.parent.name for path in (K8S / "images").glob("*/Dockerfile"))
LOCKS = {"gateway": {"gateway"}, "classifier": {"classifier", "classifier-gpu"}, "trainer": {"train"}}


def docs() -> str:
    return (ROOT / "docs" / "kubernetes.md").read_text()


def instructions(image: str) -> list[tuple[str, str]]:
    """(instruction, rest of the line) with comments gone and continued lines joined."""
    text = (K8S / "images" / image / "Dockerfile").read_text()
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text)).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def last(image: str, instruction: str) -> str:
    """The value in the final stage."""
    found = instructions(image)
    final = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    return [rest for name, rest in found[final:] if name == instruction][-1]


def copied(image: str) -> set[str]:
    """What the build takes from the repository."""
    lines = [rest for name, rest in instructions(image) if name == "COPY" and not rest.startswith("--from")]
    return {source for line in lines for source in line.split()[:-1]}


def test_each_part_has_its_image() -> None:
    assert set(IMAGES) == set(LOCKS)
    for overlay in OVERLAYS:
        names = {container(each)["image"].split(":")[0] for each in workloads(overlay).values()}
        ours = {name.removeprefix("secondreader-").removesuffix("-gpu") for name in names if "secondreader" in name}
        assert ours == {"gateway", "classifier"}


def built(tag: str | None) -> set[str]:
    """The images that `make images` tags, from the commands that it would run."""
    given = [f"TAG={tag}"] if tag else []
    plain = {name: value for name, value in os.environ.items() if name not in ("TAG", "MAKEFLAGS", "MFLAGS")}
    result = subprocess.run(
        ["make", "--dry-run", "images", *given],
        cwd=ROOT,
        env=plain,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(re.findall(r" -t (\S+)", result.stdout))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_images_that_an_overlay_asks_for_are_those_that_the_docs_build_for_it(overlay: str) -> None:
    asked = {container(each)["image"] for each in workloads(overlay).values()}
    ours = {image for image in asked if image.startswith("secondreader-")}
    assert len(ours) == 2
    documented = {
        found[2]: found[1] for found in re.finditer(r"make images(?: TAG=(\S+))? +# for overlays/(\w+)", docs())
    }
    assert set(documented) == set(OVERLAYS)
    assert ours <= built(documented[overlay])


@pytest.mark.parametrize("image", IMAGES)
def test_what_is_copied_exists_and_is_not_ignored(image: str) -> None:
    admitted = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in copied(image):
        assert (ROOT / source).exists(), source
        assert any(Path(source).match(pattern) for pattern in admitted), f"{source} is left out by .dockerignore"


@pytest.mark.parametrize("image", IMAGES)
def test_libraries_come_from_the_lock_of_the_role_with_their_hashes(image: str) -> None:
    locks = {each for each in copied(image) if each.endswith(".lock")}
    assert locks == {f"requirements-{role}.lock" for role in LOCKS[image]}
    installs = [rest for name, rest in instructions(image) if name == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert "--no-deps --no-build-isolation ." in installs[1]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_the_packages_of_its_role_only(image: str) -> None:
    package = {"gateway": "triage", "classifier": "handlers", "trainer": "training"}[image]
    folders = {each for each in copied(image) if (ROOT / each).is_dir()}
    assert folders == {"model_store", package}


@pytest.mark.parametrize("image", IMAGES)
def test_it_runs_as_nobody_and_gets_its_signals_itself(image: str) -> None:
    user, _, group = last(image, "USER").partition(":")
    assert int(user) == int(group) == 10001  # a number: Kubernetes cannot tell whether a name is root
    assert json.loads(last(image, "ENTRYPOINT"))[0] in (
        "secondreader",
        "python",
    )  # exec form is JSON; a shell form is not


@pytest.mark.parametrize("image", IMAGES)
def test_both_stages_start_from_one_image(image: str) -> None:
    """The environment's interpreter is a link into the image that made it."""
    assert {rest.split()[0] for name, rest in instructions(image) if name == "FROM"} == {"${PYTHON}"}
    (base,) = [rest for name, rest in instructions(image) if name == "ARG" and rest.startswith("PYTHON=")]
    assert base == "PYTHON=python:3.11-slim"


def test_entry_points_are_what_the_pods_give_arguments_to() -> None:
    assert json.loads(last("classifier", "ENTRYPOINT")) == ["python", "-m", "handlers.server"]
    assert json.loads(last("gateway", "ENTRYPOINT")) == ["secondreader"]
    assert json.loads(last("gateway", "CMD")) == ["serve"]
