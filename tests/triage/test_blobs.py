"""The contract of Blobs, run against every adapter."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.files import sync_folder
from tests.services import eventually
from tests.triage.object_store import S3
from triage.errors import NotFound, Unavailable
from triage.ports import Blobs
from triage.store import naming
from triage.store.blobs import LocalBlobs
from triage.store.opening import open_blobs

OPEN: dict[str, Callable[[S3, Path], Blobs]] = {
    "folder": lambda _, path: open_blobs(path / "blobs"),
    "s3": lambda s3, path: open_blobs(s3.url(f"{path.parent.name}-{path.name}")),
}
KEY = "default/default/" + "ab" * 32


@pytest.fixture(params=OPEN)
async def blobs(request: pytest.FixtureRequest, s3: S3, tmp_path: Path) -> AsyncIterator[Blobs]:
    opened = OPEN[request.param](s3, tmp_path)
    yield opened
    opened.close()


async def test_what_was_put_is_got(blobs: Blobs) -> None:
    assert await blobs.put(KEY, b"content")
    assert await blobs.get(KEY) == b"content"


async def test_a_second_put_is_not_new(blobs: Blobs) -> None:
    assert [await blobs.put(KEY, b"content") for _ in range(3)] == [True, False, False]


async def test_many_at_once_leave_one_whole_blob(blobs: Blobs) -> None:
    content = os.urandom(300_000)
    assert any(await asyncio.gather(*[blobs.put(KEY, content) for _ in range(16)]))
    assert await blobs.get(KEY) == content


async def test_what_is_not_there_is_named(blobs: Blobs) -> None:
    with pytest.raises(NotFound, match=f"the image {KEY} is not stored any more"):
        await blobs.get(KEY)


async def test_deleting_is_repeatable_and_a_put_brings_it_back(blobs: Blobs) -> None:
    await blobs.put(KEY, b"content")
    await blobs.delete(KEY)
    await blobs.delete(KEY)
    with pytest.raises(NotFound):
        await blobs.get(KEY)
    assert await blobs.put(KEY, b"content")


async def test_sites_do_not_share(blobs: Blobs) -> None:
    await blobs.put("default/a/" + "0" * 64, b"content")
    with pytest.raises(NotFound):
        await blobs.get("default/b/" + "0" * 64)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,3}/[a-z]{1,3}/[0-9a-f]{8}", fullmatch=True), st.binary(max_size=99)))
@settings(max_examples=20, deadline=None)
def test_any_content_comes_back(s3: S3, tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]) -> None:
    async def there_and_back() -> None:
        for make in OPEN.values():
            opened = make(s3, tmp_path_factory.mktemp("blobs"))
            for key, content in contents.items():
                await opened.put(key, content)
            assert {key: await opened.get(key) for key in contents} == contents
            opened.close()

    asyncio.run(there_and_back())


async def test_a_store_that_cannot_be_written_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_bytes(b"a file where the folder should be")
    blobs = LocalBlobs(tmp_path / "blobs")
    with pytest.raises(Unavailable, match=f"the image cannot be stored .{os.strerror(errno.ENOTDIR)}.; free space"):
        await blobs.put(KEY, b"content")
    blobs.close()


async def test_nothing_partial_stays_beside_a_blob(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    await blobs.put(KEY, b"content")
    blobs.close()
    assert {f"default/default/{name}" for name in os.listdir(tmp_path / "default/default")} == {KEY}


async def test_names_share_a_sync_and_none_is_told_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first sync is held: what is put meanwhile waits for the next, which serves all of it."""
    blobs = LocalBlobs(tmp_path)
    assert await blobs.put("p/s/first", b"content")
    loop, reached, go = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    synced: list[set[str]] = []

    def held(folder: str) -> None:
        seen = {name for name in os.listdir(folder) if not name.startswith(".")}
        if not synced:
            loop.call_soon_threadsafe(reached.set)
            assert go.wait(30)
        sync_folder(folder)
        synced.append(seen)

    monkeypatch.setattr(naming, "sync_folder", held)
    leader = blobs.put("p/s/leader", b"content")
    await reached.wait()
    others = [blobs.put(f"p/s/{number}", b"content") for number in range(20)]
    await asyncio.to_thread(eventually, lambda: len(os.listdir(tmp_path / "p/s")) == 22)
    assert not leader.done()
    assert not any(other.done() for other in others)
    go.set()
    assert await asyncio.gather(leader, *others) == [True] * 21
    assert {str(number) for number in range(20)} <= synced[-1]
    assert len(synced) < 21
    blobs.close()


async def test_a_folder_that_cannot_be_synced_fails_its_own_puts_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = LocalBlobs(tmp_path)

    def ill(folder: str) -> None:
        if folder.endswith("/ill"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync_folder(folder)

    monkeypatch.setattr(naming, "sync_folder", ill)
    results = await asyncio.gather(
        *[blobs.put(f"p/{site}/{number}", b"x") for number in range(8) for site in ("ill", "well")],
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [Unavailable, bool] * 8
    blobs.close()


async def test_a_cancelled_put_is_finished(blobs: Blobs) -> None:
    blobs.put(KEY, b"content").cancel()

    async def there() -> bool:
        try:
            return await blobs.get(KEY) == b"content"
        except NotFound:
            return False

    deadline = asyncio.get_running_loop().time() + 30
    while not await there():
        assert asyncio.get_running_loop().time() < deadline
    assert not await blobs.put(KEY, b"content")


@pytest.mark.parametrize("ill", [False, True])
async def test_who_asks_late_is_told_without_being_woken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ill: bool
) -> None:
    """However the put ends, before or after somebody asks."""

    def fails(folder: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    blobs, took = LocalBlobs(tmp_path, threads=1), list[float]()
    assert await blobs.put("p/s/first", b"content")
    if ill:
        monkeypatch.setattr(naming, "sync_folder", fails)
    late = blobs.put("p/s/late", b"content", took.append)
    early = blobs.put("p/s/early", b"content", took.append)
    results = [
        *await asyncio.gather(early, return_exceptions=True),
        *await asyncio.gather(late, return_exceptions=True),
    ]
    assert [type(result) for result in results] == ([Unavailable] * 2 if ill else [bool] * 2)
    assert late.done()
    assert len(took) == (0 if ill else 2)
    blobs.close()
