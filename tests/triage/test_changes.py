"""Every change is journaled before it is in force, with its author, and nothing is called changed that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.errors import ModelStoreError
from model_store.record import EventRecord
from tests.triage.gateway_parts import Wired
from triage.changes import Changes
from triage.control.switch_document import SwitchDocument
from triage.errors import JournalBroken, PreconditionFailed, Unavailable
from triage.store.documents import LocalDocuments

OFF = SwitchDocument(answering=False, reason="a wrong batch")


class Failing(LocalDocuments):
    """A folder whose swaps fail: before they are done, or after."""

    def __init__(self, folder: Path, fault: Exception, after: bool = False) -> None:
        super().__init__(folder)
        self._fault, self._after = fault, after

    def swap(self, name: str, content: bytes, etag: str | None) -> str:
        if self._after:
            super().swap(name, content, etag)
        raise self._fault


def told(gateway: Wired, kind: str) -> list[EventRecord]:
    found = [each for each in gateway.journaled() if isinstance(each, EventRecord)]
    return [each for each in found if each.name.startswith(f"{kind}_")]


async def test_an_intention_is_journaled_first_and_names_what_is_then_in_force(gateway: Wired) -> None:
    tag = await Changes(gateway.control, gateway.recorder).keep("switch", None, "", OFF, None, "ada")
    intended, done = told(gateway, "switch")
    assert (intended.name, intended.actor, intended.subject) == ("switch_changing", "ada", "")
    assert (done.name, done.actor, done.subject) == ("switch_changed", "ada", tag)
    assert done.detail["intention"] == intended.id
    assert SwitchDocument.model_validate_json(intended.detail["document"]) == OFF
    content, _ = gateway.control.documents.read("switch.json")
    assert intended.detail["document"].encode() == content


@pytest.mark.parametrize("after", [False, True])
async def test_a_store_that_fails_leaves_an_intention_that_tells_whether_it_is_in_force(
    gateway: Wired, after: bool
) -> None:
    """As a death between two lines does."""
    folder = gateway.data.folder / "control"
    gateway.control.documents = Failing(folder, Unavailable("cut by the test"), after)
    with pytest.raises(Unavailable):
        await Changes(gateway.control, gateway.recorder).keep("switch", None, "", OFF, None, "ada")
    (intended,) = told(gateway, "switch")
    assert intended.name == "switch_changing"
    stands = LocalDocuments(folder).names().get("switch.json")
    digest = intended.detail["digest"].removeprefix("sha256:")
    assert (stands is not None and digest.startswith(stands.strip('"'))) == after


async def test_who_loses_a_race_is_journaled_as_having_changed_nothing(gateway: Wired) -> None:
    gateway.control.documents = Failing(gateway.data.folder / "control", PreconditionFailed("another was faster"))
    with pytest.raises(PreconditionFailed):
        await Changes(gateway.control, gateway.recorder).keep("switch", None, "", OFF, None, "ada")
    intended, unchanged = told(gateway, "switch")
    assert unchanged.name == "switch_unchanged"
    assert unchanged.detail["intention"] == intended.id
    assert "another was faster" in unchanged.detail["why"]


async def test_what_cannot_be_journaled_does_not_happen(gateway: Wired) -> None:
    gateway.journal.broken = "no space left on device"
    with pytest.raises(JournalBroken):
        await Changes(gateway.control, gateway.recorder).keep("switch", None, "", OFF, None, "ada")
    assert "switch.json" not in gateway.control.documents.names()
    assert gateway.control.service("switch") is None


async def test_what_is_refused_was_never_begun(gateway: Wired) -> None:
    changes = Changes(gateway.control, gateway.recorder)
    site = gateway.control.site("default", "default")
    with pytest.raises(ModelStoreError):
        await changes.site("default", "default", site.document.model_copy(update={"model": "none/1"}), site.etag, "ada")
    with pytest.raises(PreconditionFailed):
        await changes.site("default", "default", site.document, '"stale"', "ada")
    with pytest.raises(PreconditionFailed):
        await changes.drop("switch", None, "", '"stale"', "ada")
    assert told(gateway, "site") == told(gateway, "switch") == []
