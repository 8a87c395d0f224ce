"""One contract for every place where objects are kept: a folder, and a real S3 server with conditional writes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embedded.ports import free_ports
from tests.triage.object_store import S3
from triage.errors import NotFound, PreconditionFailed, SettingsError, Unavailable
from triage.store.objects import Objects
from triage.store.places import open_objects, under

Again = Callable[[], Objects]


@pytest.fixture(params=["folder", "s3"])
def again(request: pytest.FixtureRequest, tmp_path: Path) -> Again:
    """Opens the same, at first empty, place: each call as another process would."""
    if request.param == "folder":
        return lambda: open_objects(tmp_path / "objects")
    server: S3 = request.getfixturevalue("s3")
    return lambda: open_objects(server.url(tmp_path.name + "-" + tmp_path.parent.name))


@pytest.fixture
def objects(again: Again) -> Objects:
    return again()


def names(objects: Objects, folder: str = "") -> list[str]:
    return sorted(entry.name for entry in objects.list(folder))


def test_what_is_put_is_read_by_another(objects: Objects, again: Again) -> None:
    objects.put("log/a=1/b.bin", b"one")
    assert again().get("log/a=1/b.bin") == b"one"
    objects.put("log/a=1/b.bin", b"two")
    assert again().get("log/a=1/b.bin") == b"two"
    objects.put("empty", b"")
    assert objects.get("empty") == b""


def test_the_first_to_create_stays(objects: Objects, again: Again) -> None:
    assert objects.create("a/b", b"first") is True
    assert again().create("a/b", b"second") is False
    assert objects.get("a/b") == b"first"


def test_of_many_that_create_at_once_one_is_first(again: Again) -> None:
    with ThreadPoolExecutor(8) as pool:
        for turn in range(5):
            told = list(pool.map(lambda who, name=f"race/{turn}": (again().create(name, b"%d" % who), who), range(8)))
            (winner,) = [who for new, who in told if new]
            assert again().get(f"race/{turn}") == b"%d" % winner


def test_a_swap_replaces_only_what_was_read(objects: Objects, again: Again) -> None:
    first = objects.swap("doc.json", b"1", None)
    assert objects.read("doc.json") == (b"1", first)
    second = again().swap("doc.json", b"2", first)
    assert objects.read("doc.json") == (b"2", second)
    for stale in (first, None, '"other"'):
        with pytest.raises(PreconditionFailed, match=r"^doc\.json is .*not .*; read it again and repeat the change$"):
            objects.swap("doc.json", b"3", stale)
    with pytest.raises(PreconditionFailed):
        objects.swap("never.json", b"3", first)
    assert objects.get("doc.json") == b"2"
    assert {entry.name: entry.etag for entry in objects.list("")} == {"doc.json": second}


def test_of_many_swaps_none_is_lost(again: Again) -> None:
    again().swap("count", b"0", None)

    def add(_: int) -> None:
        while True:
            content, etag = again().read("count")
            try:
                again().swap("count", b"%d" % (int(content) + 1), etag)
            except PreconditionFailed:
                continue
            return

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(24)))
    assert again().get("count") == b"24"


def test_every_content_has_its_own_etag(objects: Objects) -> None:
    etags = set()
    for number in range(20):
        objects.put("same-size", b"%02d" % number)
        etags.add(objects.read("same-size")[1])
    assert len(etags) == 20


def test_what_is_gone_is_not_found(objects: Objects) -> None:
    objects.put("a/b", b"1")
    objects.delete("a/b")
    objects.delete("a/b")
    objects.delete("a/b/c")
    for name in ("a/b", "a", "a/b/c"):
        with pytest.raises(NotFound, match=r"^there is no "):
            objects.get(name)
    assert names(objects) == []
    assert objects.create("a/b", b"2") is True


def test_a_listing_is_of_whole_segments_at_any_depth(objects: Objects) -> None:
    there = ["x", "a/1", "a/b/2", "a/b/c/3", "a-b/4", "ab/5", "a/date=2026-01-01/n-00000001.parquet"]
    for name in there:
        objects.put(name, name.encode())
    assert names(objects) == sorted(there)
    assert names(objects, "a") == sorted(name for name in there if name.startswith("a/"))
    assert names(objects, "a/b") == ["a/b/2", "a/b/c/3"]
    assert names(objects, "nowhere/at/all") == []
    assert {entry.name: entry.size for entry in objects.list("a/b")} == {"a/b/2": 5, "a/b/c/3": 7}


def test_a_listing_of_more_than_a_page(objects: Objects) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: objects.put(f"many/{number}", b""), range(1100)))
    assert len(names(objects, "many")) == len(set(names(objects, "many"))) == 1100


def test_a_large_object_is_whole(objects: Objects) -> None:
    content = bytes(range(256)) * (24 * 2**20 // 256)
    assert objects.create("large", content) is True
    assert objects.get("large") == content


@pytest.mark.parametrize(
    "name", ["", "/", "/a", "a/", "a//b", "../a", "a/../b", ".", ".a", "a/.b", "a\0b", "a.partial"]
)
def test_a_name_that_could_leave_or_hide_is_refused(objects: Objects, name: str) -> None:
    for use in (
        lambda: objects.put(name, b""), lambda: objects.create(name, b""), lambda: objects.get(name),
        lambda: objects.delete(name), lambda: objects.swap(name, b"", None),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="is no name of an object"):
            use()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    objects = open_objects(tmp_path / "file")
    for use in (lambda: objects.put("a", b""), lambda: objects.create("a", b""), lambda: objects.swap("a", b"", None)):
        with pytest.raises(Unavailable, match=r"; free space, or mend its owner$"):
            use()


def test_what_a_killed_writer_left_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "a.parquet.x1.partial").write_bytes(b"half")
    assert list(open_objects(tmp_path).list("")) == []


def test_a_store_that_is_away_is_said(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(
        Unavailable, match=r"^the object store s3://tests/away does not answer \(.+\); try this again soon$"
    ):
        open_objects(s3.url("away")).get("a")


@pytest.mark.parametrize("url", ["s3://", "nothing://bucket/x", "memory:///"])
def test_a_url_that_is_no_store_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="s3://bucket/folder"):
        open_objects(url)


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    open_objects(f"file://{tmp_path}/x").put("a", b"1")
    assert (tmp_path / "x" / "a").read_bytes() == b"1"
    assert under(tmp_path, "log") == f"{tmp_path}/log"
    assert under("s3://b/p/", "log") == "s3://b/p/log"
