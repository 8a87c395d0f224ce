"""An object store whose process dies at a chosen step, and one that counts what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from triage.store.objects import Entry, Objects


class Died(Exception):
    """As if the process had been killed here."""


@dataclass
class Dying:
    """Passes every call on until `steps` changes were made; from then on the process is dead. `None`: it never dies."""

    inner: Objects
    steps: int | None = None
    made: int = 0
    log: list[str] = field(default_factory=list)

    def _step(self, what: str) -> None:
        if self.steps is not None and self.made >= self.steps:
            raise Died(what)
        self.made += 1
        self.log.append(what)

    def create(self, name: str, content: bytes) -> bool:
        self._step(f"create {name}")
        return self.inner.create(name, content)

    def put(self, name: str, content: bytes) -> None:
        self._step(f"put {name}")
        self.inner.put(name, content)

    def swap(self, name: str, content: bytes, etag: str | None) -> str:
        self._step(f"swap {name}")
        return self.inner.swap(name, content, etag)

    def delete(self, name: str) -> None:
        self._step(f"delete {name}")
        self.inner.delete(name)

    def get(self, name: str) -> bytes:
        return self.inner.get(name)

    def read(self, name: str) -> tuple[bytes, str]:
        return self.inner.read(name)

    def list(self, folder: str = "") -> Iterator[Entry]:
        return self.inner.list(folder)

    def close(self) -> None:
        self.inner.close()


def content(objects: Objects) -> dict[str, bytes]:
    """Everything in a store."""
    return {entry.name: objects.get(entry.name) for entry in objects.list()}
