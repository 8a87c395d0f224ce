"""How long a site keeps what. Without a document everything is kept.

<store>/control/projects/<project>/retention/<site>.json
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Days = Annotated[int, Field(ge=1, le=36_500)]


class RetentionDocument(BaseModel):
    """Days since an image came. A hold wins over both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images_days: _Days | None = None
    """After these the image is deleted, unless a younger one of the site has the same content."""
    records_days: _Days | None = None
    """After these the image and every record of it."""

    @model_validator(mode="after")
    def _images_go_first(self) -> RetentionDocument:
        if None not in (self.images_days, self.records_days) and self.images_days > self.records_days:  # type: ignore[operator]
            raise ValueError("images_days is more than records_days; an image never stays longer than its record")
        return self
