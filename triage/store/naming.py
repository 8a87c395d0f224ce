"""Files written by several threads, whose names are synced together: whatever was named while one sync of the folder ran shares
the next, and the callers of one sync are woken at once.

A synced file is lost with the power as long as its folder is not synced too. For each file alone that would be half the
writes to the disk.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from model_store.files import sync_folder


class _Put(NamedTuple):
    path: str
    data: bytes
    done: asyncio.Future[bool]


class Naming:
    """`put` from tasks of any event loop. `name` puts a synced file where its path says, and tells whether it is new; `told`
    makes of its errors, and of those of a sync, what the caller is to see."""

    def __init__(
        self, name: Callable[[str, bytes], bool], told: Callable[[Exception], Exception], threads: int
    ) -> None:
        self._name = name
        self._told = told
        self._inbox: queue.SimpleQueue[_Put | None] = queue.SimpleQueue()
        self._named: deque[tuple[_Put, bool]] = deque()
        self._syncing = threading.Lock()
        self._threads = [threading.Thread(target=self._write, name=f"put-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def put(self, path: str, data: bytes) -> asyncio.Future[bool]:
        """Begins at once; what `name` told, when file and name are durable. Cancelling it cancels only the waiting."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._inbox.put(_Put(path, data, done))
        return done

    def close(self) -> None:
        """Finishes what was handed in."""
        for _ in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        while (put := self._inbox.get()) is not None:
            try:
                new = self._name(put.path, put.data)
            except Exception as error:
                _tell([(put, self._told(error))])
                continue
            self._named.append((put, new))  # one that is not new too: who wrote it may not have come to the sync yet
            # Whoever is first syncs for all. Who comes while the lock is held leaves his put to its holder, and the holder
            # looks once more after he gave the lock back.
            while self._named and self._syncing.acquire(blocking=False):
                try:
                    self._sync([self._named.popleft() for _ in range(len(self._named))])
                finally:
                    self._syncing.release()

    def _sync(self, named: list[tuple[_Put, bool]]) -> None:
        failed: dict[str, Exception] = {}
        for folder in {put.path.rpartition("/")[0] for put, _ in named}:
            try:
                sync_folder(folder)
            except Exception as error:
                failed[folder] = self._told(error)
        _tell([(put, failed.get(put.path.rpartition("/")[0], new)) for put, new in named])


def _tell(results: list[tuple[_Put, bool | Exception]]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[tuple[_Put, bool | Exception]]] = {}
    for put, result in results:
        loops.setdefault(put.done.get_loop(), []).append((put, result))
    for loop, theirs in loops.items():
        loop.call_soon_threadsafe(_wake, theirs)


def _wake(results: list[tuple[_Put, bool | Exception]]) -> None:
    for put, result in results:
        if put.done.done():  # its caller was cancelled
            continue
        if isinstance(result, Exception):
            put.done.set_exception(result)
        else:
            put.done.set_result(result)
