"""Who may open a connection to whom, as NetworkPolicy defines it. Pure; knows the fields that our policies use.

A pod that no policy selects for a direction is open in that direction; a selected one is closed but for what some rule of some
policy names. A connection needs the sender's egress and the receiver's ingress. A rule without peers names everybody, one
without ports every port.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from tests.k8s.manifests import Object, selects

OURS = "secondreader"


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod in a namespace, or an address outside the cluster's pods."""

    labels: dict[str, str] = field(default_factory=dict)
    namespace: str = OURS
    address: str | None = None


def may_connect(policies: list[Object], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    sends = _admitted(policies, source, target, port, protocol, "Egress", "egress", "to")
    receives = _admitted(policies, target, source, port, protocol, "Ingress", "ingress", "from")
    return sends and receives


def _admitted(
    policies: list[Object], own: Peer, other: Peer, port: int, protocol: str, direction: str, rules: str, peers: str
) -> bool:
    concerned = [policy["spec"] for policy in policies if _concerns(policy, own, direction)]
    if not concerned:
        return True
    return any(
        _names_port(rule, port, protocol) and (peers not in rule or any(_is(peer, other) for peer in rule[peers]))
        for policy in concerned
        for rule in policy.get(rules, [])
    )


def _concerns(policy: Object, own: Peer, direction: str) -> bool:
    if own.address is not None or policy["metadata"]["namespace"] != own.namespace:
        return False
    return direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], own.labels)


def _names_port(rule: Object, port: int, protocol: str) -> bool:
    return "ports" not in rule or any(
        each.get("protocol", "TCP") == protocol and each.get("port", port) == port for each in rule["ports"]
    )


def _is(peer: Object, other: Peer) -> bool:
    assert set(peer) <= {"podSelector", "namespaceSelector", "ipBlock"}, peer
    if "ipBlock" in peer:
        block = ipaddress.ip_network(peer["ipBlock"]["cidr"])
        return other.address is not None and ipaddress.ip_address(other.address) in block
    if other.address is not None:
        return False
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace}):
            return False
    elif other.namespace != OURS:
        return False
    return selects(peer.get("podSelector", {}), other.labels)
