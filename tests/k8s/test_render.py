"""Every overlay renders, passes the API's schemas, and says nothing that the schemas cannot see to be wrong."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.k8s.manifests import K8S, OVERLAYS, UniqueKeys, kubectl, objects, of_kind, pod, rendered, workloads

pytestmark = pytest.mark.parametrize("overlay", OVERLAYS)
QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
KINDS = {
    "Namespace", "PersistentVolumeClaim", "StatefulSet", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy",
}  # fmt: skip


def test_every_object_passes_the_strict_schema(overlay: str) -> None:
    version = kubernetes_validate.latest_version()
    found = objects(overlay)
    assert {each["kind"] for each in found} == KINDS  # a kind without a schema would only be warned about
    for each in found:
        kubernetes_validate.validate(each, version, strict=True)


def test_kubectl_reads_every_pod_template_with_its_own_types(overlay: str) -> None:
    """The schemas take any string for a quantity or a port; kubectl's types do not."""
    pods = yaml.safe_dump_all([each for each in objects(overlay) if each["kind"] in ("StatefulSet", "Deployment")])
    result = kubectl("set", "image", "--local", "-f", "-", "*=x", "-o", "name", stdin=pods)
    assert result.returncode == 0, result.stderr
    assert sorted(result.stdout.split()) == [
        "deployment.apps/classifier", "statefulset.apps/gateway", "statefulset.apps/redis",
    ]  # fmt: skip


def test_names_come_once(overlay: str) -> None:
    counts = Counter((each["kind"], each["metadata"]["name"]) for each in objects(overlay))
    assert max(counts.values()) == 1


def test_everything_lives_in_the_one_namespace(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    others = [each for each in objects(overlay) if each["kind"] != "Namespace"]
    assert {each["metadata"]["namespace"] for each in others} == {namespace["metadata"]["name"]}


def test_quantities_can_be_read(overlay: str) -> None:
    claims = [each["spec"] for each in of_kind(overlay, "PersistentVolumeClaim")]
    for workload in workloads(overlay).values():
        claims += [each["spec"] for each in workload["spec"].get("volumeClaimTemplates", [])]
        claims += pod(workload)["containers"]
        claims += [
            {"resources": {"limits": volume["emptyDir"]}}
            for volume in pod(workload).get("volumes", [])
            if "emptyDir" in volume
        ]
    quantities = [
        str(value)
        for claim in claims
        for share in ("requests", "limits")
        for value in claim["resources"].get(share, {}).values()
    ]
    assert len(quantities) > 10
    assert [each for each in quantities if not QUANTITY.fullmatch(each)] == []


def test_every_image_has_a_tag_or_digest(overlay: str) -> None:
    images = {name: pod(workload)["containers"][0]["image"] for name, workload in workloads(overlay).items()}
    for image in images.values():
        assert re.fullmatch(r"[a-z0-9/.-]+(:[\w.-]+|@sha256:[0-9a-f]{64})", image), image
        assert not image.endswith(":latest")
    assert images["classifier"].startswith("secondreader-classifier-gpu:") == (overlay == "gpu")


def test_an_overlay_holds_patches_and_images_only(overlay: str) -> None:
    folder = K8S / "overlays" / overlay
    kustomization = yaml.load((folder / "kustomization.yaml").read_text(), UniqueKeys)  # noqa: S506 - a SafeLoader
    assert set(kustomization) == {"apiVersion", "kind", "resources", "patches", "images"}
    assert kustomization["resources"] == ["../../base"]
    patches = {each["path"] for each in kustomization["patches"]}
    assert {path.name for path in folder.iterdir()} == patches | {"kustomization.yaml"}


def test_no_object_carries_a_secret(overlay: str) -> None:
    assert "kind: Secret" not in rendered(overlay)


def test_files_of_the_base_hold_one_kind_and_are_named_for_it(overlay: str) -> None:
    files = [path for path in (K8S / "base").rglob("*.yaml") if path.name != "kustomization.yaml"]
    for path in files:
        (only,) = yaml.load_all(path.read_text(), UniqueKeys)
        assert Path(path).stem.split("-")[-1] == only["kind"].lower()
        assert f"\n  name: {only['metadata']['name']}\n" in rendered(overlay)
