"""People that an authenticating proxy vouches for in a header, believed from where the proxy stands and nowhere else. Pure."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from triage.access.access_document import Person
from triage.errors import NotAuthorized

SECRET_HEADER = "x-proxy-secret"
"""Where the proxy shows the secret it shares with the gateway, if they share one."""


@dataclass(frozen=True)
class Proxy:
    """`networks`: where requests may come from whose header is believed."""

    header: str
    networks: tuple[IPv4Network | IPv6Network, ...]
    groups_header: str | None = None
    secret: str | None = None

    def person(self, headers: Headers, peer: str | None) -> Person | None:
        """Who the header says it is; None where it says nothing, or where anybody could have written it.

        Raises NotAuthorized for a header that came twice, and for what another site's page had a browser send.
        """
        named = headers.getlist(self.header)
        if not named or not self._stands(peer) or not self._shown(headers):
            return None
        groups = headers.getlist(self.groups_header) if self.groups_header else []
        if len(named) > 1 or len(groups) > 1:  # a proxy that adds where it should replace lets anybody name themselves
            raise NotAuthorized(f"{self.header} came more than once; have the proxy replace it, and its groups, whole")
        _same_site(headers)
        name = named[0].strip()
        if not name:
            return None
        return Person(name, tuple(each.strip() for each in groups[0].split(",") if each.strip()) if groups else ())

    def _stands(self, peer: str | None) -> bool:
        try:
            address = ip_address(peer or "")
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.networks)

    def _shown(self, headers: Headers) -> bool:
        given = headers.get(SECRET_HEADER, "")
        return self.secret is None or hmac.compare_digest(given.encode(), self.secret.encode())


def _same_site(headers: Headers) -> None:
    """The proxy lets a browser in by its cookie, which goes with whatever any page asks: only our own pages may ask."""
    said = headers.get("sec-fetch-site")
    origin, host = headers.get("origin"), headers.get("x-forwarded-host") or headers.get("host", "")
    foreign = said not in ("same-origin", "none") if said else bool(origin and urlsplit(origin).netloc != host)
    if foreign:
        raise NotAuthorized("a page of another site asks through this browser; open the service's own page")
