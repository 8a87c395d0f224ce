"""Images by content: `<project>/<site>/<sha256>`, so that a site can be purged and no image is stored twice."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from triage.errors import NotFound, Unavailable
from triage.ids import new_id
from triage.journal import sync_folder


class LocalBlobs:
    """A folder. A put is synced, file and name, before it returns."""

    def __init__(self, folder: Path, threads: int = 8) -> None:
        self.folder = folder
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
        path = self.folder / key
        if path.exists():
            sync_folder(path.parent)  # whoever wrote it may not have come to this line yet
            return False
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            for parent in path.parent.parents[: len(Path(key).parts)]:
                sync_folder(parent)
        partial = path.parent / f".{new_id()}.partial"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except OSError:
            partial.unlink()
            raise
        finally:
            os.close(descriptor)
        partial.rename(path)
        sync_folder(path.parent)
        return True
