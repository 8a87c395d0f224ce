"""Control documents: compare-and-swap, a broken one changes nothing, and each mistake is one sentence with its mend."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from model_store.errors import ModelStoreError
from tests import bundles
from tests.services import Data
from triage.control.catalog import Catalog
from triage.control.site_document import SiteDocument
from triage.control.sites import Control
from triage.errors import NotFound, PreconditionFailed, Unavailable
from triage.store.documents import LocalDocuments, etag_of


@pytest.fixture
def control(data: Data) -> Control:
    opened = Control(LocalDocuments(data.folder / "control"), Catalog(data.folder))
    opened.poll()
    return opened


def folder_of(control: Control) -> Path:
    assert isinstance(control.documents, LocalDocuments)
    return control.documents.folder


def path_of(control: Control, site: str = "default", project: str = "default") -> Path:
    return folder_of(control) / "projects" / project / "sites" / f"{site}.json"


def test_a_declared_site_is_opened_with_all_it_names(control: Control, data: Data) -> None:
    site = control.site("default", "default")
    assert site.bundle is not None
    assert site.bundle.digest == data.bundle.digest
    assert site.rules == data.rules
    assert site.labels == data.bundle.manifest.labels
    assert control.problems == {}
    assert 0 <= control.age < 60


def test_the_age_is_of_the_last_reading_that_worked(data: Data) -> None:
    control = Control(LocalDocuments(data.folder / "control"), Catalog(data.folder))
    assert control.age == float("inf")
    control.poll()
    assert control.age < 60


def test_a_change_of_another_process_is_seen_and_a_removed_site_is_gone(control: Control, data: Data) -> None:
    data.declare(mode="assist")
    data.declare("ward")
    control.poll()
    assert control.site("default", "default").document.mode == "assist"
    path_of(control, "ward").unlink()
    control.poll()
    with pytest.raises(NotFound, match="there is no site 'ward' in project 'default'; declare it with PUT"):
        control.site("default", "ward")


def test_labels_are_those_of_the_project(control: Control) -> None:
    assert control.labels("default").ids == ("red", "green", "blue", "other")
    with pytest.raises(NotFound, match="there is no project 'plants'; declare a site of it first"):
        control.labels("plants")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"mode": "live"}', b'{"mood": "live"}'])
def test_a_broken_document_keeps_the_one_before_in_force(control: Control, content: bytes) -> None:
    before = control.site("default", "default")
    good = path_of(control).read_bytes()
    path_of(control).write_bytes(content)
    control.poll()
    assert control.site("default", "default") is before
    (problem,) = control.problems.values()
    assert problem.startswith("site default/default: ")
    assert "\n" not in problem
    path_of(control).write_bytes(good)
    control.poll()
    assert control.problems == {}


def test_a_broken_document_does_not_hide_its_neighbours(control: Control, data: Data) -> None:
    path_of(control).write_bytes(b"{")
    data.declare("ward")
    control.poll()
    assert control.site("default", "ward").document.mode == "live"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mode": "on"}, "site p/s: mode = 'on': input should be 'capture', 'assist' or 'live'"),
        ({"mood": 1}, "site p/s: mood is not a known key; remove it or mend its spelling"),
        ({"model": "Colours/1"}, "site p/s: model = 'Colours/1': string should match pattern"),
        ({"model": "other/1"}, "no model 'other/1' in "),
        ({"model": None, "rules": None}, "site p/s: without a model it needs labels; add one of the two"),
        ({"suspended": ["rot"]}, "site p/s: 'rot' is no label of colours/1; mend its spelling"),
        ({"always_review": ["rot"]}, "site p/s: 'rot' is no label of colours/1; mend its spelling"),
        ({"rules": "sha256:" + "0" * 64}, "No such file or directory; certify the bundle, or name an existing"),
        ({"rules": "red"}, "site p/s: rules = 'red': string should match pattern"),
    ],
)
def test_each_mistake_is_one_sentence(control: Control, data: Data, changes: dict[str, Any], says: str) -> None:
    document = {"mode": "live", "model": "colours/1", "rules": data.rules.digest, **changes}
    with pytest.raises(ModelStoreError) as refused:
        control.open("p", "s", json.dumps(document).encode())
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_rules_of_another_bundle_are_refused(control: Control, data: Data) -> None:
    bundles.make(data.folder, name="hues")
    document = {"model": "hues/1", "rules": data.rules.digest}
    with pytest.raises(ModelStoreError, match=r"and not for hues/1 .*; certify this bundle"):
        control.open("p", "s", json.dumps(document).encode())


@pytest.mark.parametrize(("project", "site"), [("My Plants", "a"), ("a~b", "a"), ("default", "B}"), ("default", "a b")])
def test_a_file_whose_name_no_site_can_have_is_a_problem(control: Control, project: str, site: str) -> None:
    """Names stand in lease tokens and in Redis keys."""
    path = path_of(control, site, project)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path_of(control).read_bytes())
    control.poll()
    assert [(each.project, each.name) for each in control.sites] == [("default", "default")]
    (problem,) = control.problems.values()
    assert "rename the file" in problem


def test_put_swaps_only_what_was_read(control: Control) -> None:
    read = control.site("default", "default").etag
    changed, before = control.put("default", "default", SiteDocument(mode="assist", model="colours/1"), read)
    assert before == read
    assert changed.etag == etag_of(path_of(control).read_bytes()) == control.site("default", "default").etag
    for stale in (read, None, '"nonsense"'):
        with pytest.raises(PreconditionFailed, match="; read it again and repeat the change"):
            control.put("default", "default", SiteDocument(model="colours/1"), stale)
    assert control.site("default", "default").document.mode == "assist"


def test_put_declares_a_site_once(control: Control) -> None:
    declared, before = control.put("plants", "north", SiteDocument(model="colours/1"), None)
    assert (declared.document.mode, before) == ("assist", None)
    with pytest.raises(PreconditionFailed):
        control.put("plants", "north", SiteDocument(model="colours/1"), None)


def test_put_refuses_what_does_not_open_and_changes_nothing(control: Control) -> None:
    before = path_of(control).read_bytes()
    with pytest.raises(ModelStoreError):
        control.put("default", "default", SiteDocument(model="other/1"), etag_of(before))
    assert path_of(control).read_bytes() == before
    assert [path.name for path in path_of(control).parent.iterdir() if path.suffix == ".partial"] == []


async def test_of_many_writers_with_the_same_etag_one_wins(data: Data) -> None:
    writers = [Control(LocalDocuments(data.folder / "control"), Catalog(data.folder)) for _ in range(8)]
    for writer in writers:
        writer.poll()
    read = writers[0].site("default", "default").etag
    label = ("red", "green", "blue")

    def put(number: int) -> Any:
        document = SiteDocument(model="colours/1", suspended=label[: number % 3 + 1])
        return writers[number].put("default", "default", document, read)

    results = await asyncio.gather(*(asyncio.to_thread(put, n) for n in range(8)), return_exceptions=True)
    assert sum(not isinstance(result, PreconditionFailed) for result in results) == 1


def test_a_folder_that_cannot_be_read_keeps_every_site_and_lets_the_age_grow(control: Control) -> None:
    folder = folder_of(control)
    moved = folder.rename(folder.with_name("elsewhere"))
    before = control.age
    with pytest.raises(Unavailable, match="is gone; mount or restore it"):
        control.poll()
    assert control.site("default", "default").name == "default"
    assert control.age >= before
    moved.rename(folder)
    control.poll()
    assert control.site("default", "default").name == "default"


def test_the_sites_of_a_project_have_one_list_of_labels(control: Control) -> None:
    other = SiteDocument(
        mode="capture", labels=bundles.schema().model_copy(update={"labels": bundles.schema().labels[:2]})
    )
    with pytest.raises(ModelStoreError, match="reviewers of a project choose from one list"):
        control.put("default", "ward", other, None)
    control.put("another", "ward", other, None)
    assert control.labels("another").ids == ("red", "green")
