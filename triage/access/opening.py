"""From settings to an entrance."""

from __future__ import annotations

from triage.access.entrance import Entrance
from triage.access.issuer import Issuer
from triage.access.keyring import Keyring
from triage.access.oidc import Claims, Oidc
from triage.access.proxy import Proxy
from triage.errors import SettingsError
from triage.settings import LOOPBACK, Settings


def entrance_of(settings: Settings) -> Entrance:
    """Nothing is asked of anybody yet: the provider's keys are read when the first token comes."""
    oidc = proxy = None
    if settings.oidc_issuer is not None and settings.oidc_audience is not None:
        claims = Claims(settings.oidc_subject, settings.oidc_groups)
        issuer = Issuer(settings.oidc_issuer)
        oidc = Oidc(issuer, settings.oidc_audience, settings.oidc_algorithms, settings.oidc_leeway_s, claims)
    if settings.proxy_header is not None:
        secret = settings.proxy_secret.get_secret_value() if settings.proxy_secret else None
        proxy = Proxy(settings.proxy_header, settings.proxy_networks, settings.proxy_groups_header, secret)
    return Entrance(
        Keyring(settings.admin_key_sha256), oidc, proxy, settings.api_key.get_secret_value() if settings.api_key else None,
        settings.rate_limit, settings.failures_per_minute, loopback=settings.host in LOOPBACK,
    )  # fmt: skip


def check(settings: Settings, entrance: Entrance) -> None:
    """Raises SettingsError for a gateway that listens to others and that nobody could open to anybody."""
    if settings.host not in LOOPBACK and entrance.shut:
        raise SettingsError(
            f"host = {settings.host!r}: listening beyond loopback needs an admin's key, an OpenID provider or a proxy; "
            "make a key with 'secondreader keys create --role admin', or set host to 127.0.0.1"
        )
