"""Every knob of the gateway, one frozen object. Precedence: argument > environment (`TRIAGE_*`) > file > default."""

from __future__ import annotations

import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from model_store.errors import DocumentError, document_error
from triage.errors import SettingsError

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Settings(BaseSettings):
    """See docs/settings.md; a test compares that page with these fields."""

    model_config = SettingsConfigDict(env_prefix="TRIAGE_", frozen=True, extra="forbid")

    data: Path = Path("data")
    """Folder of models, rules, control documents, and by default blobs and journal."""
    journal: Path | None = None
    blobs: Path | None = None
    node: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        default_factory=socket.gethostname
    )
    """Names this gateway's journal; two gateways on one journal folder need two names."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    api_key: SecretStr | None = None
    """Bearer key of every caller and reviewer. Without one the gateway listens on loopback only."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    redis_timeout_s: Annotated[float, Field(gt=0)] = 2.0
    classifier: Literal["torchserve", "inprocess"] = "torchserve"
    torchserve_url: str = "http://127.0.0.1:8085"
    provider: Literal["cpu", "cuda"] = "cpu"
    """Of the inprocess classifier."""
    threads: Annotated[int, Field(ge=1)] = 2
    """Of the inprocess classifier."""
    classify_timeout_s: Annotated[float, Field(gt=0)] = 5.0
    max_body_bytes: Annotated[int, Field(ge=1024)] = 20_000_000
    max_in_flight: Annotated[int, Field(ge=1)] = 256
    control_stale_s: Annotated[float, Field(gt=0)] = 10.0
    lease_s: Annotated[int, Field(ge=1, le=86_400)] = 300
    segment_bytes: Annotated[int, Field(ge=4096)] = 64 * 2**20
    retention_s: Annotated[int, Field(ge=60)] = 7 * 86_400
    """How long answered predictions stay readable through GET and outcomes through the stream."""
    suggestions: Annotated[int, Field(ge=0, le=100)] = 5
    source_fields: tuple[str, ...] = ()
    """Names of caller metadata that may be recorded."""

    @model_validator(mode="after")
    def _closed_by_default(self) -> Self:
        if self.api_key is None and self.host not in _LOOPBACK:
            raise ValueError("listening beyond loopback needs a key; set TRIAGE_API_KEY, or host to 127.0.0.1")
        return self

    @property
    def journal_folder(self) -> Path:
        return self.journal or self.data / "journal"

    @property
    def blob_folder(self) -> Path:
        return self.blobs or self.data / "blobs"

    @classmethod
    def load(cls, file: Path | None = None, **arguments: Any) -> Settings:
        """Settings from arguments, environment and an optional TOML file. Raises SettingsError with one line."""
        try:
            given = tomllib.loads(file.read_text()) if file else {}
        except OSError as error:
            raise SettingsError(f"{file}: {error.strerror}; name an existing TOML file") from None
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{file}: {error}; mend the TOML") from None
        unknown = sorted(set(given) - set(cls.model_fields))
        if unknown:
            raise SettingsError(f"{file}: {unknown[0]} is not a known key; remove it or mend its spelling")
        try:
            overridden = {name for name in given if cls._from_environment(name)}
            lower = {name: value for name, value in given.items() if name not in overridden}
            return cls(**{**lower, **{name: value for name, value in arguments.items() if value is not None}})
        except ValidationError as error:
            raise SettingsError(str(_named(file, error))) from None

    @staticmethod
    def _from_environment(name: str) -> bool:
        import os

        return f"TRIAGE_{name.upper()}" in os.environ


def _named(file: Path | None, error: ValidationError) -> DocumentError:
    return document_error(file or "settings (TRIAGE_* or argument)", error)
