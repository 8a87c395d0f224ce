"""Images by content: `<project>/<site>/<sha256>`, so that a site can be purged and no image is stored twice."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model_store.files import make_folder
from triage.errors import NotFound, Unavailable
from triage.store.naming import Naming

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


class LocalBlobs:
    """A folder. A put is synced, file and name, before it returns."""

    def __init__(self, folder: Path, threads: int = 6) -> None:
        self.folder = folder
        self._root = os.fspath(folder)
        self._serial = itertools.count()
        self._partial = f"{os.getpid()}.partial"
        self._making = threading.Lock()
        """Held until a new folder is synced: whoever finds it there may rely on it."""
        self._naming = Naming(self._name, _told, threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="blobs")

    def put(self, key: str, data: bytes, took: Callable[[float], None] = lambda _: None) -> asyncio.Future[bool]:
        return self._naming.put(f"{self._root}/{key}", data, took)

    async def get(self, key: str) -> bytes:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, (self.folder / key).read_bytes)
        except FileNotFoundError:
            raise NotFound(f"the image {key} is not stored any more; it may have been purged") from None

    async def delete(self, key: str) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, (self.folder / key).unlink, True)

    def close(self) -> None:
        self._naming.close()
        self._pool.shutdown()

    def _name(self, path: str, data: bytes) -> bool:
        """A synced file under its name, which is not synced yet; True when it is new."""
        # Plain strings and descriptors, and as few calls as there can be: every image passes here, each call gives the
        # interpreter away, and on a busy machine it takes its time to come back.
        if os.path.exists(path):
            return False
        folder, _, name = path.rpartition("/")
        partial = f"{folder}/.{name}.{next(self._serial)}.{self._partial}"
        try:
            descriptor = os.open(partial, _NEW, 0o600)
        except FileNotFoundError:
            with self._making:
                make_folder(Path(folder))
            descriptor = os.open(partial, _NEW, 0o600)
        try:
            written = os.write(descriptor, data)
            while written < len(data):
                written += os.write(descriptor, data[written:])
            os.fsync(descriptor)
        except OSError:
            os.unlink(partial)
            raise
        finally:
            os.close(descriptor)
        os.rename(partial, path)
        return True


def _told(error: Exception) -> Exception:
    if not isinstance(error, OSError):
        return error
    return Unavailable(f"the image cannot be stored ({error.strerror}); free space on the blob store")
