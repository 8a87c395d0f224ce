"""JSON documents that several processes change: compare-and-swap under a file lock, durable when it returns."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_store.files import make_folder
from triage.errors import PreconditionFailed


def etag(content: bytes) -> str:
    return '"' + hashlib.sha256(content).hexdigest()[:32] + '"'


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Nobody else changes a document of this folder within the block. Makes the folder."""
    make_folder(path.parent)
    with (path.parent / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def check_etag(path: Path, if_match: str | None, name: str) -> str | None:
    """The etag that stands, None without a document. Raises PreconditionFailed when it is another than the caller read."""
    stands = etag(path.read_bytes()) if path.exists() else None
    if stands != if_match:
        raise PreconditionFailed(
            f"the document of {name} is {stands or 'not there yet'} and not {if_match or 'new'}; "
            "read it again and repeat the change"
        )
    return stands
