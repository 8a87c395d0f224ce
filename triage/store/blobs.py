"""Images by content: `<project>/<site>/<sha256>`, so that a site can be purged and no image is stored twice."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model_store.files import make_folder, sync_folder
from triage.errors import NotFound, Unavailable

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


class LocalBlobs:
    """A folder. A put is synced, file and name, before it returns."""

    def __init__(self, folder: Path, threads: int = 4) -> None:
        self.folder = folder
        self._root = os.fspath(folder)
        self._serial = itertools.count()
        self._making = threading.Lock()
        """Held until a new folder is synced: whoever finds it there may rely on it."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="blobs")

    async def put(self, key: str, data: bytes) -> bool:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._put, key, data)
        except OSError as error:
            raise Unavailable(f"the image cannot be stored ({error.strerror}); free space on the blob store") from None

    async def get(self, key: str) -> bytes:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, (self.folder / key).read_bytes)
        except FileNotFoundError:
            raise NotFound(f"the image {key} is not stored any more; it may have been purged") from None

    async def delete(self, key: str) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, (self.folder / key).unlink, True)

    def close(self) -> None:
        self._pool.shutdown()

    def _put(self, key: str, data: bytes) -> bool:
        # Plain strings and descriptors: every image passes here, and pathlib would cost more than the calls it makes.
        path = f"{self._root}/{key}"
        folder, name = path.rsplit("/", 1)
        if os.path.exists(path):
            sync_folder(folder)  # whoever wrote it may not have come to this line yet
            return False
        partial = f"{folder}/.{name}.{next(self._serial)}.{os.getpid()}.partial"
        try:
            descriptor = os.open(partial, _NEW, 0o644)
        except FileNotFoundError:
            with self._making:
                make_folder(Path(folder))
            descriptor = os.open(partial, _NEW, 0o644)
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
        sync_folder(folder)
        return True
