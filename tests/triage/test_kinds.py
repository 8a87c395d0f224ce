"""Documents of every kind: polled, parsed at once, a broken one leaves the former in force; and the kill switch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from tests.services import Data
from tests.triage.gateway_parts import Wired
from triage.control import kinds
from triage.control.catalog import Catalog
from triage.control.kinds import KINDS, Kind, Place, misnamed, place_of
from triage.control.sites import Control
from triage.control.switch_document import SwitchDocument
from triage.errors import PreconditionFailed
from triage.store.documents import LocalDocuments

OFF = SwitchDocument(answering=False, reason="a wrong batch")


def opened(data: Data) -> Control:
    control = Control(LocalDocuments(data.folder / "control"), Catalog(data.folder))
    control.poll()
    return control


@pytest.fixture
def control(data: Data) -> Control:
    return opened(data)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_document_s_place_is_told_by_its_name_in_the_store(kind: Kind[Any]) -> None:
    project, name = "plants" if kind.of_project else None, "" if kind.single else "abcdefgh"
    place = place_of(kind.path(project, name))
    assert place == Place(kind.name, project, name)
    assert not misnamed(place)


def test_no_two_kinds_share_a_place() -> None:
    places = {(kind.of_project, kind.single, kind.folder) for kind in KINDS.values()}
    assert len(places) == len(KINDS)
    assert {"sites", "standing"}.isdisjoint(kind.folder for kind in KINDS.values() if not kind.single)
    assert set(KINDS) == {kind.name for kind in KINDS.values()}
    assert kinds.place_of("thresholds/abc.json") is None


def test_a_document_that_is_put_is_in_force_here_at_once_and_elsewhere_with_the_next_poll(
    control: Control, data: Data
) -> None:
    other = opened(data)
    tag = control.keep("switch", None, "", OFF, None)
    assert control.service("switch") == OFF
    assert control.entry("switch", None) == (OFF, tag)
    assert other.service("switch") is None
    other.poll()
    assert other.service("switch") == OFF
    other.drop("switch", None, "", tag)
    assert other.service("switch") is None
    control.poll()
    assert control.of("switch") == {}
    with pytest.raises(PreconditionFailed):
        control.drop("switch", None, "", tag)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"answering": 3}', b'{"answering": false}', b'{"x": 1}'])
def test_a_broken_document_leaves_the_former_in_force_and_is_told(control: Control, data: Data, content: bytes) -> None:
    control.keep("project_switch", "default", "", OFF, None)
    path = data.folder / "control/projects/default/switch.json"
    path.write_bytes(content)
    control.poll()
    assert control.off("default") == OFF.reason
    assert list(control.problems) == ["projects/default/switch"]
    assert control.problems["projects/default/switch"].startswith("project switch default: ")
    fresh = opened(data)
    assert fresh.off("default") == "the document projects/default/switch.json cannot be read"
    assert fresh.site("default", "default").mode == "assist", "nobody knows: nothing answers"
    path.unlink()
    control.poll()
    assert (control.off("default"), control.problems) == (None, {})


def test_a_folder_of_no_kind_is_told(control: Control, data: Data) -> None:
    path = data.folder / "control/projects/default/quues/review.json"
    path.parent.mkdir()
    path.write_text("{}")
    control.poll()
    (problem,) = control.problems.values()
    assert "projects/default/quues/review.json is of no kind that there is (" in problem
    assert "sites" in problem


def test_the_switch_turns_every_live_site_into_one_that_assists(control: Control, data: Data) -> None:
    data.declare("capturing", mode="capture")
    data.declare("default", "plants")
    control.poll()
    tag = control.keep("switch", None, "", OFF, None)
    modes = {(site.project, site.name): site.mode for site in control.sites}
    assert modes == {
        ("default", "default"): "assist", ("default", "capturing"): "capture", ("plants", "default"): "assist",
    }  # fmt: skip
    assert control.site("default", "default").document.mode == "live"
    control.keep("switch", None, "", SwitchDocument(answering=True), tag)
    control.keep("project_switch", "plants", "", OFF, None)
    assert control.site("default", "default").mode == "live"
    assert control.site("plants", "default").mode == "assist"
    control.poll()
    assert control.site("plants", "default").off == "a wrong batch"


def test_off_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="add a reason"):
        SwitchDocument(answering=False, reason=" ")


async def test_while_the_switch_is_off_nothing_answers(gateway: Wired) -> None:
    assert (await gateway.predict("red", 1))["route"] == "automatic"
    tag = gateway.control.keep("switch", None, "", OFF, None)
    reply = await gateway.predict("red", 2)
    assert (reply["route"], reply["reasons"]) == ("review", ["site_assisting"])
    gateway.control.drop("switch", None, "", tag)
    assert (await gateway.predict("red", 3))["route"] == "automatic"


class _Note(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    text: str


def test_a_kind_with_names_is_listed_by_project(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    note = Kind("note", "notes", _Note, "sites.read", "sites.manage")
    monkeypatch.setitem(KINDS, "note", note)
    monkeypatch.setitem(kinds._FOLDERS, (True, False, "notes"), "note")
    control = opened(data)
    control.keep("note", "default", "one", _Note(text="a"), None)
    control.keep("note", "plants", "two", _Note(text="b"), None)
    assert control.of("note", "default") == {"one": _Note(text="a")}
    path: Path = data.folder / "control/projects/plants/notes/two.json"
    assert path.exists()
    fresh = opened(data)
    assert fresh.of("note", "plants") == {"two": _Note(text="b")}
