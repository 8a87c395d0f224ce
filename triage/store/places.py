"""Places of objects: folders and URLs, and the store that is at one."""

from __future__ import annotations

import re
from pathlib import Path

from triage.errors import SettingsError
from triage.store.folder import FolderObjects
from triage.store.objects import Objects

_URL = re.compile(r"^[a-z][a-z0-9+]*://", re.IGNORECASE)


def under(place: str | Path, name: str) -> str:
    """A store's place, a folder below it: joins paths and URLs alike."""
    return f"{str(place).rstrip('/')}/{name}"


def is_url(place: str | Path) -> bool:
    return bool(_URL.match(str(place)))


def open_objects(place: str | Path) -> Objects:
    """The store at a folder or a URL (`s3://bucket/prefix`, `gs://`, `az://`, `file:///`); credentials and endpoints come from
    the environment, under the names that the provider's own tools use. Raises SettingsError for a URL that is none."""
    text = str(place)
    if not is_url(text):
        return FolderObjects(Path(text))
    if text.lower().startswith("file://"):
        return FolderObjects(Path(text[len("file://") :]))
    # Imported here: whoever uses a folder needs no client of any cloud.
    from triage.store.bucket import BucketObjects

    try:
        return BucketObjects(text)
    except ValueError as error:
        raise SettingsError(str(error)) from None
