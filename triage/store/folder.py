"""Objects in a local folder, for one machine or a shared volume: synced, file and name, and never half there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from model_store import files
from triage.errors import NotFound, PreconditionFailed, Unavailable
from triage.store.objects import Entry, checked

T = TypeVar("T")


class FolderObjects:
    """`Objects` in a folder, which the first put makes. Swaps are serialised by a file lock in the folder's root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, name: str, content: bytes) -> bool:
        path = self._path(name)
        if path.exists():
            _refused(lambda: files.sync_folder(path.parent))  # whoever wrote it may not have come to this line yet
            return False
        return _refused(lambda: files.create_once(path, content, 0o600))

    def put(self, name: str, content: bytes) -> None:
        path = self._path(name)
        _refused(lambda: files.replace(path, content, 0o600))

    def swap(self, name: str, content: bytes, etag: str | None) -> str:
        path = self._path(name)
        with self._changing():
            stands = _etag(path)
            if stands != etag:
                raise PreconditionFailed(
                    f"{name} is {stands or 'not there'} and not {etag or 'new'}; read it again and repeat the change"
                )
            _refused(lambda: files.replace(path, content, 0o600))
            return _etag(path) or ""

    def get(self, name: str) -> bytes:
        return self.read(name)[0]

    def read(self, name: str) -> tuple[bytes, str]:
        path = self._path(name)
        try:
            with path.open("rb") as stream:
                return stream.read(), _tag(os.fstat(stream.fileno()))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFound(f"there is no {name} in {self.folder}; it may have been removed") from None
        except OSError as error:
            raise _away(error) from None

    def delete(self, name: str) -> None:
        path = self._path(name)

        def gone() -> None:
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
            files.sync_folder(path.parent)

        _refused(gone)

    def list(self, folder: str = "") -> Iterator[Entry]:
        root = self._path(folder) if folder else self.folder
        for parent, folders, names in os.walk(root, onerror=_told):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(parent, name)
                if name.startswith(".") or name.endswith(files.PARTIAL):
                    continue
                try:
                    stat = path.stat()
                except FileNotFoundError:  # deleted since the folder was read
                    continue
                yield Entry(path.relative_to(self.folder).as_posix(), stat.st_size, _tag(stat))

    def close(self) -> None:
        """Nothing is held."""

    def _path(self, name: str) -> Path:
        return self.folder / checked(name)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        _refused(lambda: files.make_folder(self.folder))
        with (self.folder / ".lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _etag(path: Path) -> str | None:
    try:
        return _tag(path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _tag(stat: os.stat_result) -> str:
    # Each put is a new file, so that its number and its moment tell contents apart without reading them.
    return f"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"


def _refused(do: Callable[[], T]) -> T:
    try:
        return do()
    except OSError as error:
        raise _away(error) from None


def _told(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise _away(error)


def _away(error: OSError) -> Unavailable:
    return Unavailable(f"the object store's folder refuses ({error.strerror}); free space, or mend its owner")
