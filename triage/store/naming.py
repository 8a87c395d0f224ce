"""Files written by several threads, whose names are synced together: whatever was named while one sync of the folder ran shares
the next, and the callers of one sync are woken at once.

A synced file is lost with the power as long as its folder is not synced too. For each file alone that would be half the
writes to the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from model_store.files import sync_folder

Result = bool | Exception


class Put(asyncio.Future[bool]):
    """A put that has begun. Waking the event loop costs as much as the put does, and mostly nobody waits for it yet, since the
    model takes longer: so it is told when somebody asks, and the loop is woken only for who does so before it is done."""

    def __init__(self, path: str, data: bytes, took: Callable[[float], None]) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.path, self.data, self.took = path, data, took
        self.began = time.perf_counter()
        self.result_told: Result | None = None
        self.asked = False

    def tell(self) -> None:
        """In the loop: the future is what the thread told."""
        if self.result_told is None or super().done():
            return
        if isinstance(self.result_told, Exception):
            self.set_exception(self.result_told)
        else:
            self.set_result(self.result_told)

    def done(self) -> bool:
        self.tell()
        return super().done()

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Any = None) -> None:
        # In this order: the thread tells first and then looks whether somebody asked, so that one of the two sees the other.
        self.asked = True
        super().add_done_callback(callback, context=context)
        self.tell()

    def __await__(self) -> Generator[Any, None, bool]:
        self.asked = True
        self.tell()
        return super().__await__()

    __iter__ = __await__


class Naming:
    """`put` from tasks of any event loop. `name` puts a synced file where its path says, and tells whether it is new; `told`
    makes of its errors, and of those of a sync, what the caller is to see."""

    def __init__(
        self, name: Callable[[str, bytes], bool], told: Callable[[Exception], Exception], threads: int
    ) -> None:
        self._name = name
        self._told = told
        self._inbox: queue.SimpleQueue[Put | None] = queue.SimpleQueue()
        self._named: deque[tuple[Put, Result]] = deque()
        self._syncing = threading.Lock()
        self._threads = [threading.Thread(target=self._write, name=f"put-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def put(self, path: str, data: bytes, took: Callable[[float], None]) -> Put:
        """Begins at once; what `name` told, when file and name are durable. `took` is called with the seconds until then, if it
        is new. Cancelling it cancels only the waiting."""
        put = Put(path, data, took)
        self._inbox.put(put)
        return put

    def close(self) -> None:
        """Finishes what was handed in."""
        for _ in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        _let_others_go_first()
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

    def _sync(self, named: list[tuple[Put, Result]]) -> None:
        failed: dict[str, Exception] = {}
        for folder in {put.path.rpartition("/")[0] for put, _ in named}:
            try:
                sync_folder(folder)
            except Exception as error:
                failed[folder] = self._told(error)
        _tell([(put, failed.get(put.path.rpartition("/")[0], new)) for put, new in named])


def _let_others_go_first() -> None:
    """This thread waits for its turn. A file takes half a dozen calls, after each of which it wants the interpreter back; woken
    as others are, it takes the core from the event loop each time, and with a few writers the gateway serves a quarter less."""
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a sandbox may forbid it, and nothing but speed depends on it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _tell(results: list[tuple[Put, Result]]) -> None:
    """In the thread. Each loop is woken once, and for those only who are waited for."""
    loops: dict[asyncio.AbstractEventLoop, list[Put]] = {}
    now = time.perf_counter()
    for put, result in results:
        if result is True:
            put.took(now - put.began)
        put.result_told, put.data = result, b""
        if put.asked:
            loops.setdefault(put.get_loop(), []).append(put)
    for loop, theirs in loops.items():
        loop.call_soon_threadsafe(_wake, theirs)


def _wake(puts: list[Put]) -> None:
    for put in puts:
        put.tell()
