"""The kill switch: while it is off nothing answers by itself, in the whole service or in one project."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SwitchDocument(BaseModel):
    """Without a document everything answers that may."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answering: bool
    reason: Annotated[str, Field(max_length=500)] = ""
    """Why it is off, for those who read `/readyz` and the journal."""

    @model_validator(mode="after")
    def _off_for_a_reason(self) -> SwitchDocument:
        if not self.answering and not self.reason.strip():
            raise ValueError("nothing says why nothing may answer; add a reason")
        return self
