"""The secret that draws audits: a file of the control folder, made once, so that every replica draws alike."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

from triage.errors import SettingsError
from triage.journal import make_folder, sync_folder

NAME = "audit.key"
_BYTES = 32


def audit_key(control: Path) -> bytes:
    """The key in a control folder; whoever comes first makes it, for its owner's eyes only. Raises SettingsError."""
    path = control / NAME
    try:
        if not path.exists():
            _make(path)
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise SettingsError(
            f"{path}, which draws the audits, cannot be used: {why}; mend its owner or restore it"
        ) from None
    if not re.fullmatch(f"[0-9a-f]{{{2 * _BYTES}}}", text):
        raise SettingsError(
            f"{path}, which draws the audits, does not hold {2 * _BYTES} hex digits; restore it, or remove it to draw anew"
        )
    return bytes.fromhex(text)


def _make(path: Path) -> None:
    """A link to a complete file appears or does not: no replica ever reads half a key, and the first one's stays."""
    make_folder(path.parent)
    partial = path.with_name(f"{NAME}.{secrets.token_hex(4)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(_BYTES) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink()
    sync_folder(path.parent)
