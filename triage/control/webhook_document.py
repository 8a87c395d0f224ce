"""What a webhook's document says: where outcomes are sent, which, and signed with what."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from triage.schemas import OutcomeType

SecretName = Annotated[
    str, Field(pattern=r"^(env:WEBHOOK_SECRET_[A-Z0-9_]{1,100}|file:[A-Za-z0-9][A-Za-z0-9_.-]{0,99})$")
]
"""A variable of the gateways' environment, or a file in their folder `webhook_secrets`."""


class WebhookDocument(BaseModel):
    """Outcomes of one project, sent to one address."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(max_length=2000)]
    secrets: Annotated[tuple[SecretName, ...], Field(min_length=1, max_length=4)]
    """By name, never themselves. Every one signs: two of them while an old one is exchanged for a new."""
    events: Annotated[tuple[OutcomeType, ...], Field(min_length=1)] = (
        "final",
        "revision",
        "correction",
        "recall",
        "unresolved",
    )
    sites: tuple[Annotated[str, Field(max_length=64)], ...] = ()
    """None named: all of them."""
    automatic: bool = False
    """Also the model's own answers, of sites whose document says `tell_automatic`."""
    after: AwareDatetime | None = None
    """Outcomes before it are not sent. None: everything is that is kept, `retention_s` long."""
    enabled: bool = True
    disabled_because: Annotated[str, Field(max_length=500)] = ""
    """Of documents that earlier versions changed when the receiver said that it is gone; means nothing any more."""
    at_once: Annotated[int, Field(ge=1, le=32)] = 4
    """Messages on their way at once; never two of one prediction."""
    timeout_s: Annotated[float, Field(gt=0, le=30)] = 10.0
    first_retry_s: Annotated[float, Field(ge=0.01, le=300)] = 5.0
    """Doubled with every try, to an hour at most, and made a little uneven by chance."""
    tries: Annotated[int, Field(ge=1, le=50)] = 12
    """After so many a message that fails while others get through is a dead letter."""
    give_up_hours: Annotated[float, Field(gt=0, le=168)] = 72.0
    """After so long every message is."""

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            raise ValueError("it is no address; write it like https://host/path") from None
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError("it is no address; write it like https://host/path")
        if parts.username is not None or parts.password is not None:
            raise ValueError("it holds a name or a password, which documents must not; messages are signed instead")
        if parts.fragment:
            raise ValueError("it has a fragment, which is never sent; leave out what follows #")
        return url
