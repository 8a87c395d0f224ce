"""Images in a bucket, put on the condition that there is none yet: the content is the name, and is stored once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from triage.errors import NotFound, Unavailable
from triage.store.bucket import first_line, store_at


class RemoteBlobs:
    """`Blobs` at a URL. Raises ValueError for a URL that names no bucket."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._store = store_at(url)
        self._putting: set[asyncio.Task[bool]] = set()

    def put(self, key: str, data: bytes, took: Callable[[float], None] = lambda _: None) -> asyncio.Future[bool]:
        task = asyncio.get_running_loop().create_task(self._put(key, data, took))
        self._putting.add(task)  # whoever asked may go away; the loop alone would let it be collected
        task.add_done_callback(self._putting.discard)
        return asyncio.shield(task)

    async def _put(self, key: str, data: bytes, took: Callable[[float], None]) -> bool:
        began = time.perf_counter()
        try:
            await obstore.put_async(self._store, key, data, mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return False
        except (BaseError, OSError) as error:
            raise self._away(error) from None
        took(time.perf_counter() - began)
        return True

    async def get(self, key: str) -> bytes:
        try:
            found = await obstore.get_async(self._store, key)
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            raise NotFound(f"the image {key} is not stored any more; it may have been purged") from None
        except (BaseError, OSError) as error:
            raise self._away(error) from None

    async def delete(self, key: str) -> None:
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise self._away(error) from None

    def close(self) -> None:
        """Connections end with the process."""

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(f"the image store {self._url} does not answer ({first_line(error)}); try this again soon")
