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


def folder_of(place: str | Path) -> Path | None:
    """The folder that a place is, by its path or as `file://`; None for a bucket."""
    text = str(place)
    if text.lower().startswith("file://"):
        return Path(text[len("file://") :])
    return None if is_url(text) else Path(text)


def open_objects(place: str | Path) -> Objects:
    """The store at a folder or a URL (`s3://bucket/prefix`, `gs://`, `az://`, `file:///`); credentials and endpoints come from
    the environment, under the names that the provider's own tools use. Raises SettingsError for a URL that is none."""
    folder = folder_of(place)
    if folder is not None:
        return FolderObjects(folder)
    # Imported here: whoever uses a folder needs no client of any cloud.
    from triage.store.bucket import BucketObjects

    try:
        return BucketObjects(str(place))
    except ValueError as error:
        raise SettingsError(str(error)) from None
