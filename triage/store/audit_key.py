"""The secret that draws audits: beside the control documents, made once, so that every replica draws alike."""

from __future__ import annotations

from pathlib import Path

from triage.store.shared_key import shared_key

NAME = "audit.key"


def audit_key(control: str | Path) -> bytes:
    """The key beside the documents of a folder or a bucket; whoever comes first makes it. Raises SettingsError."""
    return shared_key(control, NAME, "which draws the audits", "to draw anew")
