"""Where webhooks may go: to public addresses over https, or to hosts that the operator of the service lists.

Whoever may write a document must not make the gateway call what only the gateway can reach: metadata services, databases,
other tenants. The name is looked up once for each connection and what is connected to is what was checked, so that a name which
points elsewhere a moment later (DNS rebinding) is of no use; redirects are not followed.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is the internet's (RFC 4291, section 2.4). What lies outside is local, or carries an IPv4 address in one of
the ways that are out of use, or in a translator's own prefix (64:ff9b:1::/48, RFC 8215)."""
_PROTOCOLS = ipaddress.ip_network("192.0.0.0/24")
"""For protocols (RFC 6890); some of it counts as global."""


class EndpointRefused(OSError):
    """The address is none that webhooks may go to. One sentence."""


def is_public(address: str) -> bool:
    """Whether an IP address is of the open internet, also when it wears another as a mask."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _UNICAST:
            return False
    elif ip in _PROTOCOLS:
        return False
    return ip.is_global and not ip.is_multicast


def listed(host: str, port: int, allowed: Collection[str]) -> bool:
    """Entries are `host` or `host:port`."""
    return host.lower() in allowed or f"{host.lower()}:{port}" in allowed


def check_url(url: str, allowed: Collection[str]) -> None:
    """What can be said before any name is looked up. Raises EndpointRefused."""
    parts = URL(url)  # as the HTTP client reads it: two readings of one address are how such checks are passed by
    host, port = parts.host or "", parts.port or 0
    if listed(host, port, allowed):
        return
    if parts.scheme != "https":
        raise EndpointRefused(f"{host} is not called without TLS; use https, or list the host in webhook_hosts")
    try:
        public = is_public(host)
    except ValueError:
        # The client takes what is all digits for an address and looks nothing up: `127.1`, `2130706433`.
        public = (
            ":" not in host and not host.replace(".", "").isdigit()
        )  # a name: its addresses are looked at when known
    if not public:
        raise EndpointRefused(f"{host} is no public address; list the host in webhook_hosts if it is meant")


class PublicOnly(AbstractResolver):
    """Finds only addresses that may be connected to."""

    def __init__(self, allowed: Collection[str], inner: AbstractResolver | None = None) -> None:
        self._allowed = frozenset(allowed)
        self._inner = inner or ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if listed(host, port, self._allowed):
            return found
        public = [each for each in found if is_public(each["host"])]
        if not public:
            raise EndpointRefused(f"{host} has no public address; list the host in webhook_hosts if it is meant")
        return public

    async def close(self) -> None:
        await self._inner.close()
