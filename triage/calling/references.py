"""Images by reference: `{uri, sha256}` from stores that the operator named. Nothing else is ever fetched.

A uri is the name of a store and a key in it (`scans:2026/a.png`), or the store's own URL and the key
(`s3://bucket/scans/2026/a.png`). A key is what the store calls the object, already normal: no empty, `.` or `..` segment, no
backslash, nothing percent-encoded. In a folder no part of a key may be a symbolic link, so that no link leads out of it. The
content must have the sha256 that was named, and is measured before and while it is read.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import hmac
import os
import re
import stat
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError

from triage.errors import Forbidden, Invalid, NotFound, SettingsError, TooLarge, Unavailable
from triage.store.bucket import store_at

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SCHEMES = ("s3", "gs", "az", "file")
_SEGMENT = re.compile(r"[^/\\%?#\x00-\x1f\x7f]+")
_SHA256 = re.compile(r"(sha256:)?([0-9a-f]{64})")
_CHUNK = 2**20
_TIMEOUT = _PATIENCE = timedelta(seconds=10)
"""A caller waits, and can send it again."""
Hold = Callable[[int], None]
"""Told how many bytes will be held; raises Busy when there is no room."""


class Source(Protocol):
    """One store. Errors are TriageErrors with the uri in their words."""

    async def read(self, key: str, limit: int, hold: Hold, uri: str) -> bytes: ...


class References:
    """Opens images in the stores of the setting `references`. Raises SettingsError for a store that is none."""

    def __init__(self, stores: Mapping[str, str]) -> None:
        self._urls = {name: checked(name, url) for name, url in stores.items()}
        self._sources = {name: _source(name, url) for name, url in self._urls.items()}

    async def read(self, uri: str, sha256: str, limit: int, hold: Hold) -> bytes:
        """The image, at most `limit` bytes. Raises Forbidden for what is in no allowed store, Invalid for a key or digest that
        is none or another, NotFound, TooLarge, Busy, Unavailable."""
        digest = _SHA256.fullmatch(sha256)
        if digest is None:
            raise Invalid("sha256 is no digest; send the 64 hexadecimal digits of the image's SHA-256")
        name, key = self.resolve(uri)
        content = await self._sources[name].read(key, limit, hold, uri)
        found = await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
        if not hmac.compare_digest(found, digest[2]):
            raise Invalid(f"{uri} has another content than the sha256 that was sent; read its digest again")
        return content

    def resolve(self, uri: str) -> tuple[str, str]:
        """Store and key. Raises Forbidden, Invalid."""
        for name, url in self._urls.items():
            for prefix in (f"{name}:", f"{url}/"):
                key = uri.removeprefix(prefix)
                if key != uri and not (prefix == f"{name}:" and key.startswith("//")):
                    return name, _normal(key)
        known = ", ".join(f"{name}:" for name in self._urls)
        mend = f"use one of these: {known}" if known else "send the image itself, or name stores in TRIAGE_REFERENCES"
        raise Forbidden(f"{uri[:200]!r} is in no store that this service reads; {mend}")


def checked(name: str, url: str) -> str:
    """The URL without a slash at its end. Raises SettingsError."""
    parts = urlsplit(url)
    if not NAME.fullmatch(name) or name in ("http", "https", *_SCHEMES):
        raise SettingsError(f"references: {name!r} names no store; use small letters and digits, like 'scans'")
    if parts.scheme not in _SCHEMES or parts.query or parts.fragment:
        raise SettingsError(f"references: {name} = {url!r}: name a store as {', '.join(f'{s}://' for s in _SCHEMES)}")
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise SettingsError(f"references: {name} = {url!r}: name a folder by its whole path, like file:///mnt/scans")
    if parts.scheme != "file" and not parts.netloc:
        raise SettingsError(f"references: {name} = {url!r}: name a bucket, like {parts.scheme}://bucket/prefix")
    return url.rstrip("/")


def _normal(key: str) -> str:
    segments = key.split("/")
    if len(key) > 1024 or any(part in (".", "..") or not _SEGMENT.fullmatch(part) for part in segments):
        raise Invalid(
            f"the key {key[:200]!r} is not normal; write it as the store lists it, without empty, '.' or '..' parts and "
            "without % or backslash"
        )
    return key


def _source(name: str, url: str) -> Source:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Folder(Path(unquote(parts.path)))
    return Bucket(name, url)


class Folder:
    """A folder. Each part of a key is opened below the one before it, and never through a link."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def read(self, key: str, limit: int, hold: Hold, uri: str) -> bytes:
        handle, size = await asyncio.to_thread(self._open, key, uri)
        try:
            if size > limit:
                raise _too_large(uri, limit)
            hold(size)
            return await asyncio.to_thread(_whole, handle, min(limit, size), uri)
        finally:
            os.close(handle)

    def _open(self, key: str, uri: str) -> tuple[int, int]:
        *folders, last = key.split("/")
        try:
            at = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise Unavailable(f"the store of {uri} is away ({error.strerror}); try again later") from None
        try:
            for part in folders:
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                os.close(at)
                at = below
            found = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK):
                raise Forbidden(f"{uri} goes through a symbolic link; name the file itself") from None
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ENXIO):
                raise NotFound(f"there is no {uri}; name a file of that store") from None
            raise Unavailable(f"{uri} cannot be read ({error.strerror}); mend the store, or try again") from None
        finally:
            os.close(at)
        told = os.fstat(found)
        if not stat.S_ISREG(told.st_mode):
            os.close(found)
            raise NotFound(f"{uri} is no file; name a file of that store")
        return found, told.st_size


def _whole(handle: int, size: int, uri: str) -> bytes:
    """What is there now, if it is no larger than it was."""
    parts, left = [], size + 1
    while left and (part := os.read(handle, min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    if not left:
        raise Invalid(f"{uri} grows while it is read; send it again when it is whole")
    return b"".join(parts)


class Bucket:
    """A prefix of an object store. Credentials and endpoint are the environment's (`AWS_*`, `GOOGLE_*`, `AZURE_*`)."""

    def __init__(self, name: str, url: str) -> None:
        try:
            self._store = store_at(url, _TIMEOUT, _PATIENCE)
        except ValueError as error:
            raise SettingsError(f"references: {name} = {url!r}: {error}") from None

    async def read(self, key: str, limit: int, hold: Hold, uri: str) -> bytes:
        try:
            found = await self._store.get_async(key)
            size = int(found.meta["size"])
            if size > limit:
                raise _too_large(uri, limit)
            hold(size)
            content = bytearray()
            async for part in found.stream(min_chunk_size=_CHUNK):
                if len(content) + len(part) > size:
                    raise Invalid(f"{uri} is larger than its store said; send it again when it is whole")
                content += part
            return bytes(content)
        except FileNotFoundError:  # obstore's own NotFoundError is one
            raise NotFound(f"there is no {uri}; name an object of that store") from None
        except (BaseError, OSError) as error:
            raise Unavailable(f"the store of {uri} does not answer ({type(error).__name__}); try again later") from None


def _too_large(uri: str, limit: int) -> TooLarge:
    return TooLarge(f"{uri} has more than {limit:,} bytes; send a smaller image")
