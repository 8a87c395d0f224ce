"""Secrets beside the control documents: each is made once, by whoever asks first, so that every replica has the same."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from model_store.files import create_once
from triage.errors import NotFound, SettingsError, Unavailable
from triage.store.places import folder_of, open_objects

_BYTES = 32


def there(control: str | Path, name: str) -> bool:
    """Whether a key was made. Raises SettingsError."""
    folder = folder_of(control)
    try:
        if folder is not None:
            return (folder / name).exists()
        open_objects(control).get(name)
    except NotFound:
        return False
    except Unavailable as error:
        raise SettingsError(f"{control}/{name} cannot be read: {error}") from None
    return True


def shared_key(control: str | Path, name: str, purpose: str, anew: str) -> bytes:
    """32 random bytes beside the documents that the first who asks makes, in a folder for its owner's eyes only.

    Raises SettingsError.
    """
    path = f"{str(control).rstrip('/')}/{name}"
    fresh = (secrets.token_hex(_BYTES) + "\n").encode()
    folder = folder_of(control)
    try:
        content = _in_folder(folder / name, fresh) if folder is not None else _in_bucket(control, name, fresh)
        text = content.decode().strip()
    except (OSError, Unavailable, UnicodeDecodeError) as error:
        why = "it is no text" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or error
        raise SettingsError(f"{path}, {purpose}, cannot be used: {why}; mend its owner or restore it") from None
    if not re.fullmatch(f"[0-9a-f]{{{2 * _BYTES}}}", text):
        raise SettingsError(
            f"{path}, {purpose}, does not hold {2 * _BYTES} hex digits; restore it, or remove it {anew}"
        )
    return bytes.fromhex(text)


def _in_folder(path: Path, fresh: bytes) -> bytes:
    if not path.exists():
        create_once(path, fresh, 0o600)
    return path.read_bytes()


def _in_bucket(place: str | Path, name: str, fresh: bytes) -> bytes:
    objects = open_objects(place)
    try:
        return objects.get(name)
    except NotFound:
        objects.create(name, fresh)
        return objects.get(name)
