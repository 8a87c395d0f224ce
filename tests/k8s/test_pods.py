"""What the schemas cannot know: labels meet selectors, names meet names, pods end in time, commands are commands."""

from __future__ import annotations

from typing import Any

import click
import pytest

from handlers.commands import server
from model_store.manifest import ImageSpec
from tests.k8s.manifests import OVERLAYS, Object, container, of_kind, pod, pod_labels, selects, workloads
from triage.access.opening import entrance_of
from triage.commands.serve import serve
from triage.settings import Settings

pytestmark = pytest.mark.parametrize("overlay", OVERLAYS)


def environment(workload: Object) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(workload).get("env", [])}


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def size(quantity: str) -> int:
    """Bytes of a Kubernetes quantity in Mi or Gi."""
    return int(quantity[:-2]) * {"Mi": 2**20, "Gi": 2**30}[quantity[-2:]]


def accepts(command: click.Command, arguments: list[str]) -> None:
    """Raises click.UsageError for an option or argument that the command does not know."""
    command.make_parser(click.Context(command)).parse_args(list(arguments))


def test_selectors_meet_the_labels_of_exactly_one_workload(overlay: str) -> None:
    known = workloads(overlay)
    for name, workload in known.items():
        assert selects(workload["spec"]["selector"], pod_labels(workload))
        assert [each for each in known if selects(workload["spec"]["selector"], pod_labels(known[each]))] == [name]
    services = {
        each["metadata"]["name"]: {"matchLabels": each["spec"]["selector"]} for each in of_kind(overlay, "Service")
    }
    budgets = {each["metadata"]["name"]: each["spec"]["selector"] for each in of_kind(overlay, "PodDisruptionBudget")}
    policies = {each["metadata"]["name"]: each["spec"]["podSelector"] for each in of_kind(overlay, "NetworkPolicy")}
    for selector in [*services.values(), *budgets.values(), *policies.values()]:
        assert len([each for each in known.values() if selects(selector, pod_labels(each))]) == 1, selector
    assert set(services) == {"gateway", "gateway-pods", "classifier", "redis"}
    assert set(policies) == set(known)


def test_ports_that_are_named_exist(overlay: str) -> None:
    known = workloads(overlay)
    for service in of_kind(overlay, "Service"):
        (target,) = (
            each for each in known.values() if selects({"matchLabels": service["spec"]["selector"]}, pod_labels(each))
        )
        ports = {each["name"] for each in container(target)["ports"]}
        assert {each["targetPort"] for each in service["spec"]["ports"]} <= ports
    for workload in known.values():
        ports = {each["name"] for each in container(workload)["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            check = container(workload)[probe]
            asked = check.get("httpGet", check.get("tcpSocket", {}))
            assert asked.get("port") in ports or "exec" in check


def test_a_stateful_set_names_a_service_of_its_own(overlay: str) -> None:
    services = {each["metadata"]["name"]: each["spec"] for each in of_kind(overlay, "Service")}
    for workload in of_kind(overlay, "StatefulSet"):
        service = services[workload["spec"]["serviceName"]]
        assert selects({"matchLabels": service["selector"]}, pod_labels(workload))


def test_volumes_that_are_mounted_exist_and_the_root_is_read_only(overlay: str) -> None:
    claims = {each["metadata"]["name"] for each in of_kind(overlay, "PersistentVolumeClaim")}
    for workload in workloads(overlay).values():
        volumes = {each["name"]: each for each in pod(workload).get("volumes", [])}
        templates = {each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", [])}
        mounted = {each["name"] for each in container(workload)["volumeMounts"]}
        assert mounted == set(volumes) | templates
        used = {
            each["persistentVolumeClaim"]["claimName"] for each in volumes.values() if "persistentVolumeClaim" in each
        }
        assert used <= claims
        assert container(workload)["securityContext"]["readOnlyRootFilesystem"] is True


def test_pods_keep_to_the_restricted_standard(overlay: str) -> None:
    for workload in workloads(overlay).values():
        context, own = pod(workload)["securityContext"], container(workload)["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert pod(workload)["automountServiceAccountToken"] is False
        assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod(workload))


def test_no_service_can_set_our_settings(overlay: str) -> None:
    """Kubernetes sets <SERVICE>_PORT for every Service; one called `triage` would set TRIAGE_PORT."""
    assert all(pod(workload)["enableServiceLinks"] is False for workload in workloads(overlay).values())


def test_pods_have_the_time_to_drain(overlay: str) -> None:
    gateway, classifier = workloads(overlay)["gateway"], workloads(overlay)["classifier"]
    sleep = container(gateway)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod(gateway)["terminationGracePeriodSeconds"] >= sleep + 20 + 10  # uvicorn's own limit, and a last fsync
    drain = float(option(container(classifier)["args"], "--drain"))
    assert drain >= Settings.model_fields["classify_timeout_s"].default
    assert pod(classifier)["terminationGracePeriodSeconds"] >= drain + 10 + 10  # TorchServe.stop's grace, and a margin


def test_the_classifier_is_ready_when_a_golden_image_comes_back_right(overlay: str) -> None:
    own = container(workloads(overlay)["classifier"])
    for probe in ("startupProbe", "readinessProbe"):
        command = own[probe]["exec"]["command"]
        assert command[:4] == ["python", "-m", "handlers.server", "probe"]
        subcommand = server.get_command(click.Context(server), "probe")
        assert subcommand is not None
        accepts(subcommand, command[4:])
        assert option(command, "--port") == option(own["args"], "--port")
    patience = own["startupProbe"]["periodSeconds"] * own["startupProbe"]["failureThreshold"]
    assert patience >= float(option(own["args"], "--deadline"))


def test_the_classifier_is_started_with_options_it_has(overlay: str) -> None:
    workload = workloads(overlay)["classifier"]
    arguments = container(workload)["args"]
    accepts(server, arguments)
    ports = {each["name"]: str(each["containerPort"]) for each in container(workload)["ports"]}
    assert ports == {"predictions": option(arguments, "--port"), "metrics": option(arguments, "--metrics-port")}
    bundle = environment(workload)["SECONDREADER_BUNDLE"]
    assert bundle.startswith("/data/models/")
    assert len(bundle.split("/")) == 5  # <data>/models/<name>/<version>
    assert option(arguments, "--provider") == ("cuda" if overlay == "gpu" else "cpu")


def test_the_gateway_is_configured_by_settings_that_exist(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    workload = workloads(overlay)["gateway"]
    first, *arguments = container(workload)["args"]
    assert first == "serve"
    accepts(serve, arguments)
    variables = {key: value for key, value in environment(workload).items() if key.startswith("TRIAGE_")}
    assert {key.removeprefix("TRIAGE_").lower() for key in variables} <= set(Settings.model_fields)
    for key, value in variables.items():
        given = "0" * 64 if key.endswith("_SHA256") else "gateway-0"
        monkeypatch.setenv(key, given if isinstance(value, dict) else value)
    settings = Settings.load()
    assert (settings.host, settings.port) == ("0.0.0.0", container(workload)["ports"][0]["containerPort"])
    mounts = {each["mountPath"] for each in container(workload)["volumeMounts"]}
    assert {str(settings.data), str(settings.journal_folder)} <= mounts
    assert not entrance_of(settings).shut  # it starts before anybody made a key


def test_the_gateway_asks_services_that_exist_at_ports_they_have(overlay: str) -> None:
    values = environment(workloads(overlay)["gateway"])
    services = {each["metadata"]["name"]: each["spec"]["ports"] for each in of_kind(overlay, "Service")}
    for url in (values["TRIAGE_TORCHSERVE_URL"], values["TRIAGE_REDIS_URL"].split("@")[1]):
        host, port = url.removeprefix("http://").split("/")[0].split(":")
        assert int(port) in [each["port"] for each in services[host]]


def test_a_journal_is_on_a_disk_of_its_own_and_outlives_its_gateway(overlay: str) -> None:
    gateway = workloads(overlay)["gateway"]
    (journal,) = gateway["spec"]["volumeClaimTemplates"]
    assert journal["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert gateway["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert environment(gateway)["TRIAGE_NODE"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_models_can_be_read_wherever_a_classifier_runs(overlay: str) -> None:
    (claim,) = of_kind(overlay, "PersistentVolumeClaim")
    replicas = sum(each["spec"]["replicas"] for each in workloads(overlay).values())
    assert claim["spec"]["accessModes"] == (["ReadWriteOnce"] if overlay == "dev" else ["ReadWriteMany"])
    assert (replicas == 3) == (overlay == "dev")
    mount = next(each for each in container(workloads(overlay)["classifier"])["volumeMounts"] if each["name"] == "data")
    assert mount["readOnly"] is True


def test_the_classifier_sees_models_and_nothing_else_of_the_data(overlay: str) -> None:
    own = container(workloads(overlay)["classifier"])
    (mount,) = (each for each in own["volumeMounts"] if each["name"] == "data")
    assert (mount["mountPath"], mount["subPath"]) == ("/data/models", "models")
    assert environment(workloads(overlay)["classifier"])["SECONDREADER_BUNDLE"].startswith(mount["mountPath"] + "/")


def test_a_gateway_full_of_the_largest_bodies_fits_its_memory(overlay: str) -> None:
    gateway = workloads(overlay)["gateway"]
    in_flight = int(environment(gateway)["TRIAGE_MAX_IN_FLIGHT"])
    assert "TRIAGE_MAX_BODY_BYTES" not in environment(gateway)
    bodies = (in_flight + 1) * Settings.model_fields["max_body_bytes"].default  # one is being joined from its parts
    itself = 300 * 2**20  # what tests.benchmarks.memory allows the process
    resources = container(gateway)["resources"]
    assert bodies + itself <= size(resources["requests"]["memory"])
    # A reviewer's image on top: pixels of the manifest's default, as Pillow holds them, as an array, and once more.
    shown = 3 * 3 * ImageSpec.model_fields["max_pixels"].default
    assert bodies + itself + 2 * shown <= size(resources["limits"]["memory"])


def test_a_rollout_fits_the_cards_there_are(overlay: str) -> None:
    classifier = workloads(overlay)["classifier"]
    limits, rolling = container(classifier)["resources"]["limits"], classifier["spec"]["strategy"]["rollingUpdate"]
    assert "cpu" in limits  # how the server counts its workers
    if overlay == "gpu":
        assert limits["nvidia.com/gpu"] == "1"
        assert rolling == {"maxSurge": 0, "maxUnavailable": 1}
    else:
        assert "nvidia.com/gpu" not in limits
        assert rolling == {"maxSurge": 1, "maxUnavailable": 0}


def test_secrets_are_asked_for_under_the_names_the_docs_create(overlay: str) -> None:
    asked = {
        (value["secretKeyRef"]["name"], value["secretKeyRef"]["key"])
        for workload in workloads(overlay).values()
        for value in environment(workload).values()
        if isinstance(value, dict) and "secretKeyRef" in value
    }
    assert asked == {("secondreader", "admin-key-sha256"), ("secondreader", "redis-password")}
