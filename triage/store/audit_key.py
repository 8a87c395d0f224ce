"""The secret that draws audits: a file of the control folder, made once, so that every replica draws alike."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from model_store.files import create_once
from triage.errors import SettingsError

NAME = "audit.key"
_BYTES = 32


def audit_key(control: Path) -> bytes:
    """The key in a control folder; whoever comes first makes it, for its owner's eyes only. Raises SettingsError."""
    return secret(control / NAME, "which draws the audits", "to draw anew")


def secret(path: Path, purpose: str, anew: str) -> bytes:
    """32 random bytes in a file that the first who asks makes. Raises SettingsError."""
    try:
        if not path.exists():
            create_once(path, (secrets.token_hex(_BYTES) + "\n").encode(), 0o600)
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise SettingsError(f"{path}, {purpose}, cannot be used: {why}; mend its owner or restore it") from None
    if not re.fullmatch(f"[0-9a-f]{{{2 * _BYTES}}}", text):
        raise SettingsError(
            f"{path}, {purpose}, does not hold {2 * _BYTES} hex digits; restore it, or remove it {anew}"
        )
    return bytes.fromhex(text)
