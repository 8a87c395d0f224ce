"""The stores of documents and of images at a folder or a URL."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from triage.errors import SettingsError
from triage.ports import Blobs, Documents
from triage.store.blobs import LocalBlobs
from triage.store.documents import LocalDocuments
from triage.store.object_documents import ObjectDocuments
from triage.store.places import folder_of

_TIMEOUT = timedelta(seconds=8)
_PATIENCE = timedelta(seconds=2)
"""Of documents, which are read each second: one request that hangs must not make them stale, which by default they are after
ten seconds."""


def open_documents(place: str | Path) -> Documents:
    """Raises SettingsError for a URL that names no store."""
    folder = folder_of(place)
    if folder is not None:
        return LocalDocuments(folder)
    # Imported here: whoever uses a folder needs no client of any cloud.
    from triage.store.bucket import BucketObjects

    try:
        return ObjectDocuments(BucketObjects(str(place), _TIMEOUT, _PATIENCE))
    except ValueError as error:
        raise SettingsError(str(error)) from None


def open_blobs(place: str | Path) -> Blobs:
    """Raises SettingsError for a URL that names no store."""
    folder = folder_of(place)
    if folder is not None:
        return LocalBlobs(folder)
    from triage.store.remote_blobs import RemoteBlobs

    try:
        return RemoteBlobs(str(place))
    except ValueError as error:
        raise SettingsError(str(error)) from None
