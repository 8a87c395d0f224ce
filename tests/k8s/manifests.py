"""The rendered overlays, as objects, and the parts of them that tests ask for."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
KUBECTL = Path(sys.executable).with_name("kubectl")
Object = dict[str, Any]


class UniqueKeys(yaml.SafeLoader):
    """YAML lets a key come twice and keeps the last; here that is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"keys that come twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


def kubectl(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs kubectl, which asks no cluster for what is done here."""
    return subprocess.run(
        [str(KUBECTL), *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


@functools.cache
def rendered(overlay: str) -> str:
    result = kubectl("kustomize", str(K8S / "overlays" / overlay))
    assert result.returncode == 0, result.stderr
    assert not result.stderr, result.stderr  # kustomize warns of deprecated fields there
    return result.stdout


def objects(overlay: str) -> list[Object]:
    return list(yaml.load_all(rendered(overlay), UniqueKeys))


def of_kind(overlay: str, *kinds: str) -> list[Object]:
    return [each for each in objects(overlay) if each["kind"] in kinds]


def workloads(overlay: str) -> dict[str, Object]:
    """name -> Deployment or StatefulSet."""
    return {each["metadata"]["name"]: each for each in of_kind(overlay, "Deployment", "StatefulSet")}


def pod(workload: Object) -> Object:
    """The pod's spec."""
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Object) -> Object:
    """The one container of a workload."""
    (only,) = pod(workload)["containers"]
    found: Object = only
    return found


def pod_labels(workload: Object) -> dict[str, str]:
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector matches; an empty one matches everything."""
    assert set(selector) <= {"matchLabels"}, f"this test does not know {set(selector)}"
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
