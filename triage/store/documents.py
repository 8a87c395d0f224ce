"""Named JSON documents in a folder: compare-and-swap under a file lock, durable when a call returns, cheap to poll.

A document's etag is the hash of its content, so that files copied to another machine keep theirs, and a document that is put
back as it was has its old one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from model_store.files import make_folder, replace, sync_folder
from triage.errors import NotFound, PreconditionFailed, Unavailable

_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.@+-]*/)*[A-Za-z0-9][A-Za-z0-9_.@+-]*\.json")
_SETTLED_NS = 2_000_000_000
"""A file may change twice within one tick of its file system's clock: what was read sooner after a change is read again."""


class _Seen(NamedTuple):
    stat: tuple[int, int, int, int]
    etag: str
    settled: bool


def etag_of(content: bytes) -> str:
    return '"' + hashlib.sha256(content).hexdigest()[:32] + '"'


def checked(name: str) -> str:
    """The name itself. Raises ValueError for one that could leave the store or hide in it."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a document")
    return name


def refused(name: str, stands: str | None, if_match: str | None) -> PreconditionFailed:
    """What is said to whoever changes a document that is another than the one they read."""
    what = name.removesuffix(".json")
    return PreconditionFailed(
        f"the document of {what} is {stands or 'not there yet'} and not {if_match or 'new'}; "
        "read it again and repeat the change"
    )


class LocalDocuments:
    """`Documents` in a folder, which the first change makes. One object may be used from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, _Seen] = {}
        self._was_there = False

    def names(self, prefix: str = "") -> dict[str, str]:
        root = self.folder
        if not root.is_dir():
            if self._was_there:
                raise Unavailable(f"the documents' folder {root} is gone; mount or restore it")
            return {}
        self._was_there = True
        try:
            found = {name: self._etag(name, stat) for name, stat in _files(root) if name.startswith(prefix)}
        except OSError as error:
            raise _away(root, error) from None
        for gone in self._seen.keys() - found.keys():
            if gone.startswith(prefix):
                self._seen.pop(gone, None)
        return {name: tag for name, tag in found.items() if tag is not None}

    def _etag(self, name: str, stat: os.stat_result) -> str | None:
        """The etag of a file, which is read only when it changed; None when it is gone by now."""
        marks = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        seen = self._seen.get(name)
        if seen is not None and seen.settled and seen.stat == marks:
            return seen.etag
        settled = time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED_NS
        try:
            tag = etag_of((self.folder / name).read_bytes())
        except FileNotFoundError:
            return None
        self._seen[name] = _Seen(marks, tag, settled)
        return tag

    def read(self, name: str) -> tuple[bytes, str]:
        path = self.folder / checked(name)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"there is no document {name}; it may have been removed") from None
        except OSError as error:
            raise _away(path, error) from None
        return content, etag_of(content)

    def swap(self, name: str, content: bytes, etag: str | None) -> str:
        path = self.folder / checked(name)
        try:
            with _changing(path):
                _check(path, name, etag)
                replace(path, content, 0o600)
        except OSError as error:
            raise _away(path, error) from None
        return etag_of(content)

    def remove(self, name: str, etag: str) -> None:
        path = self.folder / checked(name)
        try:
            with _changing(path):
                _check(path, name, etag)
                path.unlink()
                sync_folder(path.parent)
        except OSError as error:
            raise _away(path, error) from None


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    """Nobody else changes a document of this folder within the block. Makes the folder."""
    make_folder(path.parent)
    with (path.parent / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _check(path: Path, name: str, if_match: str | None) -> None:
    stands = etag_of(path.read_bytes()) if path.exists() else None
    if stands != if_match:
        raise refused(name, stands, if_match)


def _files(root: Path, below: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Every `.json` file under a folder, hidden ones apart, by its name relative to the first."""
    try:
        entries = list(os.scandir(root / below))
    except FileNotFoundError:  # removed since the folder above was read
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name = f"{below}{entry.name}"
        if entry.is_dir():
            yield from _files(root, f"{name}/")
        elif name.endswith(".json"):
            try:
                yield name, entry.stat()
            except FileNotFoundError:
                continue


def _away(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"the documents cannot be read or written ({path}: {error.strerror}); free space, or mend their owner"
    )
