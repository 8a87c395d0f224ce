"""What a site's control document says: its mode, its model and rules, and how its answers are audited."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from model_store.labels import LabelSchema
from triage.promise.audit_policy import AuditPolicy
from triage.reviewing.cases import CasePolicy


class SiteDocument(BaseModel):
    """What one site does. A site starts in `assist`: people see suggestions, nothing answers by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["capture", "assist", "live"] = "assist"
    model: Annotated[str, Field(pattern=r"^[a-z0-9_-]+/[0-9.]+$")] | None = None
    """`name/version` of a bundle; none: everything is captured or reviewed."""
    rules: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    labels: LabelSchema | None = None
    """Only for a site without a model: what reviewers can answer."""
    suspended: tuple[str, ...] = ()
    """Labels, or `absent:LABEL` where only the absence is meant."""
    always_review: tuple[str, ...] = ()
    audit: AuditPolicy = AuditPolicy()
    cases: CasePolicy | None = None
    """Images that name a case are decided together; without it each by itself."""
