"""What a site's control document says: its mode, what answers there and what is tried, and how its answers are audited."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model_store.labels import LabelSchema
from triage.promise.audit_policy import AuditPolicy
from triage.reviewing.cases import CasePolicy

ModelName = Annotated[str, Field(pattern=r"^[a-z0-9_-]+/[0-9.]+$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Share = Annotated[float, Field(gt=0, le=1)]


class Release(BaseModel):
    """A model and the rules it answers by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelName
    rules: Digest | None = None
    """None: it only assists."""


class Challenger(Release):
    """A release that is tried beside the one in force, the champion, on a share of the images."""

    shadow: Share | None = None
    """The share of images that it reads too. What it would have said is recorded, and never answers."""
    canary: Share | None = None
    """The share of images that it reads in the champion's place, answering by its own rules."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Challenger:
        if (self.shadow is None) == (self.canary is None):
            raise ValueError("a challenger shadows or is a canary; give one of the two a share")
        if self.canary is not None and self.rules is None:
            raise ValueError("a canary answers, and without rules nothing does; name its rules")
        return self


class SiteDocument(BaseModel):
    """What one site does. A site starts in `assist`: people see suggestions, nothing answers by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["capture", "assist", "live"] = "assist"
    model: ModelName | None = None
    """`name/version` of a bundle; none: everything is captured or reviewed."""
    rules: Digest | None = None
    challenger: Challenger | None = None
    """What is tried beside `model` and `rules`."""
    previous: Release | None = None
    """What was in force before, for the way back."""
    labels: LabelSchema | None = None
    """Only for a site without a model: what reviewers can answer."""
    suspended: tuple[str, ...] = ()
    """Labels, or `absent:LABEL` where only the absence is meant."""
    always_review: tuple[str, ...] = ()
    audit: AuditPolicy = AuditPolicy()
    tell_automatic: bool = False
    """Listeners and webhooks that ask for it hear of the model's own answers too."""
    cases: CasePolicy | None = None
    """Images that name a case are decided together; without it each by itself."""
