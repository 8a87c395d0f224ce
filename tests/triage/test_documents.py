"""One contract for every store of documents: compare-and-swap, etags that change with the content, what is gone is gone."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from embedded.ports import free_ports
from tests.triage.object_store import S3
from triage.errors import NotFound, PreconditionFailed, SettingsError, Unavailable
from triage.ports import Documents
from triage.store.documents import LocalDocuments, etag_of
from triage.store.folder import FolderObjects
from triage.store.object_documents import ObjectDocuments
from triage.store.opening import open_blobs, open_documents

NAME = "projects/default/queues/review.json"
KNOWN = ("switch.json", "projects/a/queues/x.json", "projects/a/queues/y.json")
NAMES, CONTENTS = st.sampled_from(KNOWN), st.sampled_from([b"{}", b'{"a": 1}', b'{"a": 2}'])
Again = Callable[[], Documents]


@pytest.fixture(params=["folder", "s3"])
def again(request: pytest.FixtureRequest, tmp_path: Path) -> Again:
    """Opens the same, at first empty, place: each call as another process would."""
    if request.param == "folder":
        return lambda: open_documents(tmp_path / "control")
    server: S3 = request.getfixturevalue("s3")
    return lambda: open_documents(server.url(f"{tmp_path.parent.name}-{tmp_path.name}"))


@pytest.fixture
def documents(again: Again) -> Documents:
    return again()


def test_what_was_put_is_read_with_the_etag_that_put_told(documents: Documents, again: Again) -> None:
    tag = documents.swap(NAME, b"{}", None)
    assert re.fullmatch(r'"[^"]+"', tag), "it is sent as an ETag"
    for opened in (documents, again()):
        assert opened.read(NAME) == (b"{}", tag)
        assert opened.names() == {NAME: tag}


def test_a_swap_needs_what_stands(documents: Documents) -> None:
    first = documents.swap(NAME, b'{"a": 1}', None)
    second = documents.swap(NAME, b'{"a": 2}', first)
    assert second != first
    for stale in (first, None, '"nonsense"'):
        with pytest.raises(PreconditionFailed, match="; read it again and repeat the change"):
            documents.swap(NAME, b'{"a": 3}', stale)
    assert documents.read(NAME) == (b'{"a": 2}', second)
    with pytest.raises(PreconditionFailed, match="not there"):
        documents.swap("projects/default/queues/other.json", b"{}", second)


def test_what_is_removed_is_gone_and_can_be_made_again(documents: Documents) -> None:
    tag = documents.swap(NAME, b'{"a": 1}', None)
    with pytest.raises(PreconditionFailed):
        documents.remove(NAME, '"nonsense"')
    documents.remove(NAME, tag)
    assert documents.names() == {}
    with pytest.raises(NotFound):
        documents.read(NAME)
    with pytest.raises(PreconditionFailed):
        documents.remove(NAME, tag)
    with pytest.raises(PreconditionFailed):
        documents.swap(NAME, b"{}", tag)
    again = documents.swap(NAME, b'{"a": 2}', None)
    assert documents.names() == {NAME: again}
    assert documents.read(NAME)[0] == b'{"a": 2}'


def test_names_are_those_that_begin_so(documents: Documents) -> None:
    for name in ("switch.json", "keys/abc.json", "projects/a/sites/x.json", "projects/ab/sites/y.json"):
        documents.swap(name, b"{}", None)
    assert set(documents.names()) == {
        "switch.json", "keys/abc.json", "projects/a/sites/x.json", "projects/ab/sites/y.json",
    }  # fmt: skip
    assert set(documents.names("projects/a/")) == {"projects/a/sites/x.json"}
    assert documents.names("projects/c/") == {}


def test_of_many_that_swap_the_same_etag_one_wins(documents: Documents) -> None:
    first = documents.swap(NAME, b"{}", None)

    def swap(number: int) -> str | None:
        try:
            return documents.swap(NAME, b'{"a": %d}' % number, first)
        except PreconditionFailed:
            return None

    with ThreadPoolExecutor(8) as pool:
        tags = [tag for tag in pool.map(swap, range(16)) if tag]
    assert len(tags) == 1
    assert documents.read(NAME)[1] == tags[0]


@pytest.mark.parametrize("name", ["", "../a.json", "a/../b.json", "/a.json", ".a.json", "a//b.json", "a", "a b.json"])
def test_a_name_that_could_leave_the_store_is_refused(documents: Documents, name: str) -> None:
    for act in (lambda: documents.read(name), lambda: documents.swap(name, b"{}", None)):
        with pytest.raises(ValueError, match="is no name of a document"):
            act()


def test_a_url_that_names_no_store_is_one_sentence() -> None:
    for opened in (open_documents, open_blobs):
        with pytest.raises(SettingsError, match=r"names no object store: .*; write it like s3://bucket/folder"):
            opened("nothing://bucket")


def test_a_store_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    documents = open_documents("s3://tests/away")
    for act in (documents.names, lambda: documents.read(NAME), lambda: documents.swap(NAME, b"{}", None)):
        with pytest.raises(Unavailable, match=r"does not answer .*; try this again soon"):
            act()


def test_a_folder_s_etags_are_of_the_content_and_follow_hands(tmp_path: Path) -> None:
    documents = LocalDocuments(tmp_path)
    tag = documents.swap(NAME, b'{"a": 1}', None)
    assert tag == etag_of(b'{"a": 1}')
    for content in (b'{"a": 2}', b'{"a": 3}', b'{"a": 2}'):  # within one tick of the clock, and all of one length
        (tmp_path / NAME).write_bytes(content)
        assert documents.names() == {NAME: etag_of(content)}


def test_what_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = LocalDocuments(tmp_path)
    tag = documents.swap(NAME, b"{}", None)
    later = os.stat(tmp_path / NAME).st_ctime_ns + 3_000_000_000
    monkeypatch.setattr("triage.store.documents.time.time_ns", lambda: later)
    documents.names()
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read again"))
    assert documents.names() == {NAME: tag}


def test_a_folder_that_was_there_and_is_gone_is_away_and_not_empty(tmp_path: Path) -> None:
    documents = LocalDocuments(tmp_path / "control")
    assert documents.names() == {}
    documents.swap("switch.json", b"{}", None)
    documents.names()
    (tmp_path / "control").rename(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="mount or restore it"):
        documents.names()


def test_hidden_and_foreign_files_are_no_documents(tmp_path: Path) -> None:
    for name in (".lock", "audit.key", ".a.json", ".git/a.json", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert LocalDocuments(tmp_path).names() == {}


class Machine(RuleBasedStateMachine):
    """Any order of changes, on versions that stand and on ones that do not: the store says what a dictionary says."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.documents = self.opened()
        self.stands: dict[str, tuple[bytes, str]] = {}
        self.gone: dict[str, str] = {}
        """The last etag of what was removed or replaced."""

    def opened(self) -> Documents:
        return LocalDocuments(Path(self.folder.name))

    @rule(name=NAMES, content=CONTENTS)
    def swap(self, name: str, content: bytes) -> None:
        stood = self.stands.get(name)
        etag = self.documents.swap(name, content, stood[1] if stood else None)
        if stood:
            self.gone[name] = stood[1]
        self.stands[name] = content, etag

    @rule(name=NAMES, content=CONTENTS)
    def swap_what_does_not_stand(self, name: str, content: bytes) -> None:
        stood = self.stands.get(name)
        stale = self.gone.get(name, '"nonsense"') if stood is None or self.gone.get(name) != stood[1] else '"nonsense"'
        for wrong in {stale, None} if stood else {stale}:
            with contextlib.suppress(PreconditionFailed):
                etag = self.documents.swap(name, content, wrong)
                assert stood is not None, "nothing stood there"
                assert (content, etag) == stood, "only what stands already may seem to be put"

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        if name in self.stands:
            self.gone[name] = self.stands[name][1]
            self.documents.remove(name, self.stands.pop(name)[1])
        else:
            with pytest.raises(PreconditionFailed):
                self.documents.remove(name, self.gone.get(name, '"nonsense"'))

    @rule()
    def another_process(self) -> None:
        self.documents = self.opened()

    @invariant()
    def it_says_what_stands(self) -> None:
        assert self.documents.names() == {name: etag for name, (_, etag) in self.stands.items()}
        for name in KNOWN:
            if name in self.stands:
                assert self.documents.read(name) == self.stands[name]
            else:
                with pytest.raises(NotFound):
                    self.documents.read(name)

    def teardown(self) -> None:
        self.folder.cleanup()


class ObjectMachine(Machine):
    """The same over objects, whose removals leave something behind."""

    def opened(self) -> Documents:
        return ObjectDocuments(FolderObjects(Path(self.folder.name)))


TestLocal = Machine.TestCase
TestObjects = ObjectMachine.TestCase
TestLocal.settings = TestObjects.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
