"""Every knob of the gateway, one frozen object. Precedence: argument > environment (`TRIAGE_*`) > file > default."""

from __future__ import annotations

import os
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariable

from model_store import keys
from model_store.errors import document_error
from triage.errors import SettingsError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""What an OpenID provider may sign with: those with a public key, and never a shared one."""
Place = Annotated[str, BeforeValidator(lambda place: str(place) if isinstance(place, Path) else place)]
"""A folder by its path, or an object store by its URL."""
_SECRET = frozenset({"api_key", "proxy_secret", "admin_key_sha256"})
"""Their values stand in no message; the digest's neither, since a key may be put there by mistake."""


class Settings(BaseSettings):
    """See docs/settings.md; a test compares that page with these fields."""

    model_config = SettingsConfigDict(env_prefix="TRIAGE_", frozen=True, extra="forbid")

    data: Path = Path("data")
    """Folder of models, rules, control documents, and by default blobs and journal."""
    journal: Path | None = None
    blobs: Place | None = None
    """Folder or URL of the images."""
    control: Place | None = None
    """Folder or URL of the control documents."""
    store: Place | None = None
    """Folder or URL of everything that is kept: images, control documents and log, where they are not named apart."""
    log: Place | None = None
    """Folder or URL of the deployment log."""
    node: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        default_factory=socket.gethostname
    )
    """Names this gateway's journal; two gateways on one journal folder need two names."""
    api_key: SecretStr | None = None
    """Development key: it may do everything, and counts only while the gateway listens on loopback."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    redis_url: str = "redis://127.0.0.1:6379/0"
    redis_timeout_s: Annotated[float, Field(gt=0)] = 2.0
    classifier: Literal["torchserve", "inprocess"] = "torchserve"
    torchserve_url: str = "http://127.0.0.1:8085"
    provider: Literal["cpu", "cuda"] = "cpu"
    """Of the inprocess classifier."""
    threads: Annotated[int, Field(ge=1)] = 2
    """Of the inprocess classifier."""
    classifier_requests: Annotated[int, Field(ge=1)] = 16
    """Of one model, under way at TorchServe at once; images that come meanwhile go out together."""
    classify_timeout_s: Annotated[float, Field(gt=0)] = 5.0
    max_body_bytes: Annotated[int, Field(ge=1024)] = 20_000_000
    max_in_flight: Annotated[int, Field(ge=1)] = 256
    max_bytes_in_flight: Annotated[int, Field(ge=1024)] = 512_000_000
    """Of all bodies at once."""
    share_per_key: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Of `max_in_flight` and of `max_bytes_in_flight`, what one key or person may hold."""
    receive_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """For a request's whole head, and then for its whole body."""
    references: dict[str, str] = {}
    """Stores that images may be sent from by reference: name -> `s3://bucket/prefix`, `file:///folder`."""
    idempotency_s: Annotated[int, Field(ge=1)] = 86_400
    """How long an Idempotency-Key stands for its first request."""
    drain_s: Annotated[float, Field(ge=0, le=600)] = 0.0
    """After SIGTERM: how long it is told that this gateway stops, before it no longer listens."""
    control_stale_s: Annotated[float, Field(gt=0)] = 10.0
    lease_s: Annotated[int, Field(ge=1, le=86_400)] = 300
    hold_s: Annotated[float, Field(ge=0, le=3600)] = 5.0
    """For so long a reviewer can take an answer back before anybody is told, where the queue's document says nothing."""
    segment_bytes: Annotated[int, Field(ge=4096)] = 64 * 2**20
    segment_seconds: Annotated[float, Field(gt=0)] = 300.0
    """After so long a segment that holds records is closed, so that they reach the archive."""
    journal_keep_s: Annotated[float, Field(ge=0)] = 7 * 86_400
    """How long a segment stays here after it is archived and indexed."""
    retention_s: Annotated[int, Field(ge=60)] = 7 * 86_400
    """How long answered predictions stay readable through GET and outcomes through the stream."""
    max_listeners: Annotated[int, Field(ge=1)] = 4096
    """Programs that listen to outcomes at once."""
    webhook_hosts: tuple[str, ...] = ()
    """`host` or `host:port` that webhooks may go to without TLS and at addresses that are not public."""
    webhook_secrets: Path | None = None
    """Folder of the secrets that webhooks' documents name as `file:NAME`."""
    suggestions: Annotated[int, Field(ge=0, le=100)] = 5
    trusted_keys: Path | None = None
    """Folder of the public keys (`*.pem`) of whoever may let rules answer."""
    source_fields: tuple[str, ...] = ()
    """Names of caller metadata that may be recorded."""
    admin_key_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of a key that is an admin's although no document knows it, for installations that start before a key can be made."""
    rate_limit: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Requests a second of one key or person at this gateway."""
    failures_per_minute: Annotated[float, Field(gt=0)] = 60.0
    """Wrong keys and tokens of one address."""
    oidc_issuer: Annotated[str, Field(pattern=r"^https?://")] | None = None
    oidc_audience: str | None = None
    oidc_algorithms: tuple[Algorithm, ...] = ("RS256", "ES256")
    oidc_subject: str = "sub"
    """Claim that names a person."""
    oidc_groups: str = "groups"
    """Claim that lists their groups."""
    oidc_leeway_s: Annotated[float, Field(ge=0, le=300)] = 30.0
    proxy_header: str | None = None
    """Header in which an authenticating proxy names the person."""
    proxy_groups_header: str | None = None
    proxy_networks: tuple[IPvAnyNetwork, ...] = ()
    """Where that proxy's requests come from."""
    proxy_secret: SecretStr | None = None
    """What the proxy shows in `X-Proxy-Secret`."""

    @field_validator("api_key", "proxy_secret")
    @classmethod
    def _a_key_is_something(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not key.get_secret_value().strip():
            raise ValueError("the key is empty; set one, or leave it out")
        return key

    @field_validator("host")
    @classmethod
    def _closed_by_default(cls, host: str, others: ValidationInfo) -> str:
        if others.data.get("api_key") is not None and host not in LOOPBACK:
            raise ValueError(
                "TRIAGE_API_KEY is a development key and counts on loopback only; unset it, and make keys with "
                "'secondreader keys create --role admin'"
            )
        return host

    @model_validator(mode="after")
    def _whole(self) -> Settings:
        """A provider or a proxy that is named by half lets in nobody, or everybody."""
        if (self.oidc_issuer is None) != (self.oidc_audience is None):
            raise ValueError("oidc_issuer and oidc_audience are set together or not at all; set the other one too")
        if self.proxy_header is None and (self.proxy_groups_header or self.proxy_networks or self.proxy_secret):
            raise ValueError("proxy_header names no header; set it, or leave the other proxy settings out")
        if self.proxy_header is not None and not self.proxy_networks:
            raise ValueError("proxy_header is believed from nowhere; name the proxy's addresses in proxy_networks")
        return self

    @property
    def trusted_folder(self) -> Path:
        return self.trusted_keys or keys.trusted_folder(self.data)

    @property
    def webhook_secret_folder(self) -> Path:
        return self.webhook_secrets or self.data / "webhook-secrets"

    @property
    def journal_folder(self) -> Path:
        return self.journal or self.data / "journal"

    @property
    def log_place(self) -> str:
        """Folder or URL of the archive."""
        return self.log or self._in_store("log")

    @property
    def blob_place(self) -> str:
        """Folder or URL of the images."""
        return self.blobs or self._in_store("blobs")

    @property
    def control_place(self) -> str:
        """Folder or URL of the control documents, and of the keys that replicas share."""
        return self.control or self._in_store("control")

    def _in_store(self, name: str) -> str:
        return f"{(self.store or str(self.data)).rstrip('/')}/{name}"

    @classmethod
    def load(cls, file: Path | None = None, **arguments: Any) -> Settings:
        """Settings from arguments, environment and an optional TOML file. Raises SettingsError with one line."""
        given = _read(file) if file else {}
        unknown = sorted(set(given) - set(cls.model_fields))
        if unknown:
            raise SettingsError(f"{file}: {unknown[0]} is not a known key; remove it or mend its spelling")
        named = {name: value for name, value in arguments.items() if value is not None}
        environment = {name for name in cls.model_fields if _in_environment(name) is not None}
        source = {
            **dict.fromkeys(given, str(file)),
            **{name: _variable(name) for name in environment},
            **dict.fromkeys(named, "argument"),
        }
        try:
            return cls(**{**{name: value for name, value in given.items() if name not in environment}, **named})
        except ValidationError as error:
            key = str(next(iter(error.errors()[0]["loc"]), ""))
            if not key:  # of several settings at once
                said = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise SettingsError(f"settings: {said}") from None
            if key in _SECRET:  # the line is shown to people, and the value is nobody's
                said = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise SettingsError(f"{source[key]}: {key}: {said[:1].lower()}{said[1:]}") from None
            raise SettingsError(str(document_error(source.get(key, "settings"), error))) from None
        except UnreadableVariable as error:
            key = next(name for name in sorted(environment) if f'"{name}"' in str(error))
            raise SettingsError(
                f"{_variable(key)}: {key} = {_in_environment(key)!r}: it is a list; write it as JSON, "
                'like ["one", "two"]'
            ) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}; name an existing TOML file") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: it is not UTF-8 text; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: {error}; mend the TOML") from None


def _variable(name: str) -> str:
    return f"TRIAGE_{name.upper()}"


def _in_environment(name: str) -> str | None:
    """The value of a setting's variable, whose name counts in any case; None when it is not set."""
    return next((value for key, value in os.environ.items() if key.upper() == _variable(name)), None)
