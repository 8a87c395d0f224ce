"""Files that are there whole or not at all, also after a loss of power."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path

PARTIAL = ".partial"
"""What ends so was being written when its writer died."""


def replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Writes a file, over an older one of that name. Its folder is made."""
    make_folder(path.parent)
    _written(path, content, mode).rename(path)
    sync_folder(path.parent)


def create_once(path: Path, content: bytes, mode: int = 0o644) -> bool:
    """Writes a file unless there is one; True when it did. Of several that come at once the first one's stays, and nobody reads
    half of it."""
    make_folder(path.parent)
    partial = _written(path, content, mode)
    new = False
    try:
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
            new = True
    finally:
        partial.unlink()
    sync_folder(path.parent)
    return new


def make_folder(folder: Path) -> None:
    """Makes a folder whose name, and every name above it, survives a loss of power."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path | str) -> None:
    """Makes names created in a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _written(path: Path, content: bytes, mode: int) -> Path:
    """A file beside `path`, synced; nobody but its owner could read it before it had its mode."""
    handle, partial = tempfile.mkstemp(prefix=f"{path.name}.", suffix=PARTIAL, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            # A kernel stamps files once a tick, in which several may be written; this moment tells them apart.
            moment = time.time_ns()
            os.utime(stream.fileno(), ns=(moment, moment))
            os.fsync(stream.fileno())
            os.fchmod(stream.fileno(), mode)
    except OSError:
        Path(partial).unlink()
        raise
    return Path(partial)
