"""Objects in a bucket: S3 and what speaks its protocol, Google Cloud Storage, Azure. Conditional puts are the store's own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url

from triage.errors import NotFound, PreconditionFailed, Unavailable
from triage.store.objects import Entry, checked

_TIMEOUT = timedelta(seconds=30)
_PATIENCE = timedelta(seconds=20)
"""How long tries are repeated. Whoever waits has a fallback of its own: the journal keeps what is not archived."""


def store_at(url: str, timeout: timedelta = _TIMEOUT, patience: timedelta = _PATIENCE) -> ObjectStore:
    """The library's store at a URL. Raises ValueError for a URL that names none."""
    try:
        store = from_url(
            url,
            # Only an endpoint that somebody wrote with http:// is reached so; the providers' own are https.
            client_options={
                "allow_http": True, "timeout": timeout, "connect_timeout": min(timeout, timedelta(seconds=5)),
            },
            retry_config={"max_retries": 4, "retry_timeout": patience},
        )  # fmt: skip
    except (BaseError, ValueError) as error:
        raise ValueError(
            f"{url} names no object store: {first_line(error)}; write it like s3://bucket/folder"
        ) from None
    if isinstance(store, LocalStore | MemoryStore):
        raise ValueError(f"{url} is no bucket; name a folder by its path, or a store like s3://bucket/folder")
    return store


class BucketObjects:
    """`Objects` at a URL. Raises ValueError for a URL that names no store."""

    def __init__(self, url: str, timeout: timedelta = _TIMEOUT, patience: timedelta = _PATIENCE) -> None:
        self._url = url
        self._store = store_at(url, timeout, patience)

    def create(self, name: str, content: bytes) -> bool:
        try:
            obstore.put(self._store, checked(name), content, mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return False
        except (BaseError, OSError) as error:
            raise self._away(error) from None
        return True

    def put(self, name: str, content: bytes) -> None:
        try:
            obstore.put(self._store, checked(name), content, use_multipart=False)
        except (BaseError, OSError) as error:
            raise self._away(error) from None

    def swap(self, name: str, content: bytes, etag: str | None) -> str:
        try:
            done = obstore.put(
                self._store, checked(name), content,
                mode="create" if etag is None else {"e_tag": etag}, use_multipart=False,
            )  # fmt: skip
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            raise PreconditionFailed(f"{name} is not {etag or 'new'}; read it again and repeat the change") from None
        except (BaseError, OSError) as error:
            raise self._away(error) from None
        return done["e_tag"] or ""

    def get(self, name: str) -> bytes:
        return self.read(name)[0]

    def read(self, name: str) -> tuple[bytes, str]:
        try:
            found = obstore.get(self._store, checked(name))
            return bytes(found.bytes()), found.meta["e_tag"] or ""
        except FileNotFoundError:
            raise NotFound(f"there is no {name} in {self._url}; it may have been removed") from None
        except (BaseError, OSError) as error:
            raise self._away(error) from None

    def delete(self, name: str) -> None:
        try:
            obstore.delete(self._store, checked(name))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise self._away(error) from None

    def list(self, folder: str = "") -> Iterator[Entry]:
        try:
            for page in obstore.list(self._store, checked(folder) if folder else None):
                for found in page:
                    yield Entry(found["path"], found["size"], found["e_tag"] or "")
        except (BaseError, OSError) as error:
            raise self._away(error) from None

    def close(self) -> None:
        """Connections end with the process."""

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(f"the object store {self._url} does not answer ({first_line(error)}); try this again soon")


def first_line(error: Exception) -> str:
    """Errors of the library go on for pages and quote the request."""
    return str(error).split("\n", 1)[0][:200]
