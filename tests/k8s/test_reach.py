"""Who reaches whom in the rendered overlays: all that must, nobody else."""

from __future__ import annotations

import itertools

import pytest

from tests.k8s.manifests import OVERLAYS, of_kind, pod_labels, selects, workloads
from tests.k8s.reach import Peer, may_connect

pytestmark = pytest.mark.parametrize("overlay", OVERLAYS)

OPEN = {
    ("gateway", "redis", 6379),
    ("gateway", "classifier", 8080),
    ("prometheus", "classifier", 8082),
    # Whoever holds a key: the gateway's door is open, and the key is asked for inside.
    ("caller", "gateway", 8080),
    ("neighbour", "gateway", 8080),
    ("prometheus", "gateway", 8080),
    ("internet", "gateway", 8080),
}
PORTS = {"gateway": [8080], "classifier": [8080, 8081, 8082, 7070, 7071], "redis": [6379]}


def peers(overlay: str) -> dict[str, Peer]:
    ours = {name: Peer(pod_labels(workload)) for name, workload in workloads(overlay).items()}
    return ours | {
        "caller": Peer({"app": "shop"}, "shop"),
        "prometheus": Peer({"app": "prometheus"}, "monitoring"),
        "neighbour": Peer({"app": "neighbour"}),
        "internet": Peer(address="203.0.113.7"),
    }


def test_the_matrix(overlay: str) -> None:
    policies = of_kind(overlay, "NetworkPolicy")
    known = peers(overlay)
    open_ways = {
        (source, target, port)
        for source, target in itertools.product(known, PORTS)
        for port in PORTS[target]
        if source != target and may_connect(policies, known[source], known[target], port)
    }
    assert open_ways == OPEN


def test_the_gateway_finds_names_and_nobody_else_leaves(overlay: str) -> None:
    policies = of_kind(overlay, "NetworkPolicy")
    known = peers(overlay)
    names = {"dns": Peer({"k8s-app": "kube-dns"}, "kube-system"), "cache": Peer(address="169.254.20.10")}
    for target, protocol in itertools.product(names.values(), ("UDP", "TCP")):
        assert may_connect(policies, known["gateway"], target, 53, protocol)
        for silent in ("classifier", "redis"):
            assert not may_connect(policies, known[silent], target, 53, protocol)
    for name in ("gateway", "classifier", "redis"):
        assert not may_connect(policies, known[name], known["internet"], 443)
        assert not may_connect(policies, known[name], Peer(address="169.254.169.254"), 80)  # a cloud's metadata


def test_every_pod_is_closed_in_both_directions_by_a_policy(overlay: str) -> None:
    policies = of_kind(overlay, "NetworkPolicy")
    for workload in workloads(overlay).values():
        chosen = [each["spec"] for each in policies if selects(each["spec"]["podSelector"], pod_labels(workload))]
        assert {direction for each in chosen for direction in each["policyTypes"]} == {"Ingress", "Egress"}


def test_without_its_policy_a_pod_is_open(overlay: str) -> None:
    """The evaluator can say yes: what the policies close was not closed before."""
    known = peers(overlay)
    for target, ports in PORTS.items():
        for port in ports:
            assert may_connect([], known["internet"], known[target], port)
