"""A disk that loses power: it keeps what was synced, and nothing else.

`kill -9` leaves what the system's cache holds, and so tests no sync. Here each sync is watched: of a file it makes the content
durable, of a folder the names in it. What a loss leaves is what the last sync of each said, which is the least that a file
system may keep: names without content, content without a name, and a rename that never happened.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock


class Disk:
    """Everything below a folder, as far as it is durable. What lies there when it begins is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.syncs = 0
        self._content: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._guard = threading.Lock()
        self._fsync, self._fdatasync = os.fsync, os.fdatasync
        for folder, _, files in os.walk(root):
            self._see(folder)
            for name in files:
                self._see(os.path.join(folder, name))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Syncs count while the block runs, in every thread."""

        def synced(real: object) -> object:
            def sync(descriptor: int) -> None:
                # Before it runs: what is written meanwhile may be lost.
                self._see(f"/proc/self/fd/{descriptor}")
                self.syncs += 1
                real(descriptor)  # type: ignore[operator]

            return sync

        with mock.patch("os.fsync", synced(self._fsync)), mock.patch("os.fdatasync", synced(self._fdatasync)):
            yield

    def _see(self, path: str) -> None:
        about = os.stat(path)
        with self._guard:
            if stat.S_ISDIR(about.st_mode):
                self._names[about.st_ino] = {entry.name: entry.inode() for entry in os.scandir(path)}
            elif stat.S_ISREG(about.st_mode):
                with open(path, "rb") as stream:
                    self._content[about.st_ino] = stream.read()

    def after_loss(self, target: Path) -> Path:
        """What is found when power is back, put into a new folder."""
        with self._guard:
            self._restore(self.root.stat().st_ino, target)
        return target

    def _restore(self, inode: int, target: Path) -> None:
        target.mkdir(parents=True)
        for name, its in self._names.get(inode, {}).items():
            if its in self._names:
                self._restore(its, target / name)
            else:
                (target / name).write_bytes(self._content.get(its, b""))
