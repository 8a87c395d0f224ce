"""That a webhook's receiver said it wants nothing any more. Written by the service, beside the webhook's document: that one is
only ever what its author wrote, so that applying it again neither differs nor sends again."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class GoneDocument(BaseModel):
    """It holds for as long as the webhook's document names the address that said so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(max_length=2000)]
    because: Annotated[str, Field(max_length=500)]
    at: AwareDatetime
