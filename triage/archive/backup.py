"""Backups: everything a service is made of, in a folder or a bucket, with a manifest of digests that is written last.

    manifest.json               what is in here; a backup without it is none
    files/<number>.jsonl        names, sizes and SHA-256 of ten thousand files each
    <part>/<name>               control, keys, rules, journal, log, and if asked for blobs and models

It may be made while gateways run. The journal is copied before the log, so that what leaves the disk meanwhile is in the log;
the log is copied until a listing stands still, so that nothing is missing that was merged meanwhile. A backup holds what was
purged after it was made: purge again after a restore, or keep backups for no longer than records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from model_store import VERSION, files
from triage.archive.condemned import FOLDER as CONDEMNED
from triage.archive.layout import SEGMENTS
from triage.errors import Conflict, Invalid, NotFound
from triage.journal.reading import nodes, segments, whole_end
from triage.journal.reading import seal as seal_of
from triage.settings import Settings
from triage.store.objects import Entry, Objects
from triage.store.places import folder_of, open_objects

MANIFEST = "manifest.json"
_AT_ONCE = 10_000
_TRIES = 20
_SECRET = ("keys", "control")
"""Parts in which files may be for their owner's eyes only."""


@dataclass(frozen=True)
class File:
    """One file of a backup; `name` begins with its part."""

    name: str
    size: int
    sha256: str
    mode: int = 0o644


@dataclass(frozen=True)
class Parts:
    """Where each part lies, in the order in which it is saved. Control comes back last: without it nothing serves."""

    places: dict[str, str]

    @classmethod
    def of(cls, settings: Settings, blobs: bool, models: bool) -> Parts:
        data = settings.data
        places = {
            "journal": str(settings.journal_folder), "log": settings.log_place, "rules": str(data / "rules"),
            "keys": str(data / "keys"), "thresholds": str(data / "thresholds"), "uses": str(data / "uses"),
        }  # fmt: skip
        if models:
            places["models"] = str(data / "models")
        if blobs:
            places["blobs"] = settings.blob_place
        return cls({**places, "control": settings.control_place})


def save(settings: Settings, target: Objects, blobs: bool, models: bool, seen: Callable[[], None]) -> dict[str, int]:
    """Files per part. Raises Conflict when the target holds something, Invalid when there is nothing to save, Unavailable."""
    for entry in target.list():
        raise Conflict(f"the backup's place is not empty, it holds {entry.name}; name another, or remove what is there")
    writer = _Writer(target, seen)
    parts = Parts.of(settings, blobs, models).places
    for part, place in parts.items():
        if part == "journal":
            _save_journal(Path(place), writer)
        elif part == "log":
            _save_changing(open_objects(place), part, writer)
        else:
            _save_all(place, part, writer)
    if not writer.files:  # a backup of the wrong folder would be noticed on the day that it is needed
        raise Invalid(f"{settings.data} holds nothing to save; name the folder that gateways use with --data")
    return writer.close(parts)


class _Writer:
    """Puts files and keeps the list of them, ten thousand in memory at a time."""

    def __init__(self, target: Objects, seen: Callable[[], None]) -> None:
        self._target = target
        self._seen = seen
        self._files: list[File] = []
        self._lists: list[str] = []
        self._counts: dict[str, int] = {}
        self._bytes = 0

    @property
    def files(self) -> int:
        """How many so far."""
        return sum(self._counts.values())

    def put(self, name: str, content: bytes, mode: int = 0o644) -> None:
        self._target.put(name, content)
        part = name.split("/", 1)[0]
        self._counts[part] = self._counts.get(part, 0) + 1
        self._bytes += len(content)
        self._files.append(File(name, len(content), hashlib.sha256(content).hexdigest(), mode))
        self._seen()
        if len(self._files) == _AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        content = "".join(json.dumps(asdict(file)) + "\n" for file in self._files).encode()
        self._target.put(f"files/{len(self._lists):06d}.jsonl", content)
        self._lists.append(hashlib.sha256(content).hexdigest())
        self._files = []

    def close(self, parts: dict[str, str]) -> dict[str, int]:
        self._flush()
        counts = {part: self._counts.get(part, 0) for part in parts}
        told = {
            "version": 1, "code": VERSION, "parts": sorted(parts), "counts": counts, "bytes": self._bytes,
            "files": self._lists,
        }  # fmt: skip
        self._target.put(MANIFEST, json.dumps(told, indent=1).encode())
        return counts


def _save_journal(folder: Path, writer: _Writer) -> None:
    """Closed segments whole, others as far as they are whole."""
    for node in nodes(folder):
        for path in segments(node):
            try:
                content = path.read_bytes()
                if seal_of(path) is None:
                    content = content[: whole_end(path)]
            except FileNotFoundError:
                continue  # it is in the log since, which is copied next
            writer.put(f"journal/{node.name}/{path.name}", content)


def _save_all(place: str, part: str, writer: _Writer) -> None:
    folder = folder_of(place)
    objects = open_objects(place)
    for entry in objects.list():
        if part == "blobs" and entry.name.startswith(f"{CONDEMNED}/"):
            continue  # purged, and gone within the hour; a backup would keep it
        try:
            content = objects.get(entry.name)
        except NotFound:
            continue  # deleted since it was listed
        secret = part in _SECRET and folder is not None
        mode = (folder / entry.name).stat().st_mode & 0o777 if secret and folder else 0o644
        writer.put(f"{part}/{entry.name}", content, mode)


def _save_changing(objects: Objects, part: str, writer: _Writer) -> None:
    """Files that are merged, rewritten and deleted while they are copied: once more whatever changed, until nothing did. What
    went is said to be empty; whoever restores leaves it out. Markers go last, as they were written."""
    done: dict[str, str] = {}
    for _ in range(_TRIES):
        now = {entry.name: entry.etag for entry in _ordered(objects)}
        changed = [name for name, etag in now.items() if done.get(name) != etag]
        gone = [name for name in done if name not in now]
        if not changed and not gone:
            return
        for name in changed:
            try:
                content, etag = objects.read(name)
            except NotFound:
                continue
            writer.put(f"{part}/{name}", content)
            done[name] = etag
        for name in gone:
            writer.put(f"{part}/{name}", b"", 0)
            del done[name]
    raise Conflict(
        "the log changes faster than it can be copied; wait until nobody merges or purges, and back up again"
    )


def _ordered(objects: Objects) -> Iterator[Entry]:
    yield from (entry for entry in objects.list() if not entry.name.startswith(f"{SEGMENTS}/"))
    yield from objects.list(SEGMENTS)


def restore(source: Objects, settings: Settings, seen: Callable[[], None]) -> dict[str, int]:
    """Files per part, each compared with its digest before it is put. Raises Conflict when something is where it belongs,
    Invalid when the backup is not whole: then nothing of the documents was restored, without which no gateway answers."""
    manifest = _manifest(source)
    parts = Parts.of(settings, "blobs" in manifest["parts"], "models" in manifest["parts"])
    chosen = {part: place for part, place in parts.places.items() if part in manifest["parts"]}
    for part, place in chosen.items():
        for entry in open_objects(place).list():
            raise Conflict(
                f"{place} is not empty, it holds {entry.name}; restore {part} into an empty place, and remove what an earlier "
                "attempt left there"
            )
    last = _final(source, manifest)
    counts: dict[str, int] = {}
    for part, place in chosen.items():
        counts[part] = sum(_put(source, file, place, seen) for file in last(part))
    return counts


def _manifest(source: Objects) -> dict[str, list[str]]:
    try:
        told: dict[str, list[str]] = json.loads(source.get(MANIFEST))
    except NotFound:
        raise Invalid(
            "there is no manifest.json in it, so that it is no backup, or one that was not finished; name what "
            "'secondreader backup' filled"
        ) from None
    return told


def _final(source: Objects, manifest: dict[str, list[str]]) -> Callable[[str], Iterator[File]]:
    """Part -> its files as they were in the end: of one that is listed twice the later counts."""

    def listed(part: str) -> Iterator[File]:
        later: dict[str, File] = {}
        for number, digest in enumerate(manifest["files"]):
            content = source.get(f"files/{number:06d}.jsonl")
            if hashlib.sha256(content).hexdigest() != digest:
                raise Invalid(f"files/{number:06d}.jsonl of the backup is damaged; use another backup")
            for line in content.splitlines():
                file = File(**json.loads(line))
                if file.name.split("/", 1)[0] != part:
                    continue
                if part == "log":
                    later[file.name] = file
                else:
                    yield file
        yield from (file for file in later.values() if file.mode)

    return listed


def _put(source: Objects, file: File, place: str, seen: Callable[[], None]) -> bool:
    try:
        content = source.get(file.name)
    except NotFound:
        raise Invalid(f"{file.name} is missing from the backup; use another backup") from None
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise Invalid(f"{file.name} of the backup is damaged; use another backup")
    name = file.name.split("/", 1)[1]
    folder = folder_of(place)
    if folder is not None:
        files.replace(folder / name, content, file.mode)
    else:
        open_objects(place).put(name, content)
    seen()
    return True
