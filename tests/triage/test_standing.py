"""Standing documents: who may not answer, for how long, and what a broken one does."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path

import pytest

from model_store.errors import ModelStoreError
from tests import bundles
from tests.bundles import UNTIL, WHEN
from tests.services import Data
from tests.triage.gateway_parts import Wired
from triage.control.catalog import Catalog
from triage.control.sites import Control
from triage.errors import PreconditionFailed
from triage.ids import now_us
from triage.promise.standing import ClassStanding, Standing
from triage.store.documents import LocalDocuments

RULE = "sha256:" + "1" * 64
HOUR = 3_600_000_000


def us(moment: datetime.datetime) -> int:
    return round(moment.timestamp() * 1e6)


def suspended(**changes: object) -> ClassStanding:
    at = us(WHEN) + 1
    values = {"state": "suspended", "epoch": 1, "rule": RULE, "since": at, "suspended_at": at, **changes}
    return ClassStanding.model_validate(values)


@pytest.fixture
def control(data: Data) -> Control:
    opened = Control(LocalDocuments(data.folder / "control"), Catalog(data.folder))
    opened.poll()
    return opened


def path_of(control: Control) -> Path:
    assert isinstance(control.documents, LocalDocuments)
    return control.documents.folder / "projects" / "default" / "standing" / "default.json"


def stand(control: Control, entry: ClassStanding, label: str = "red") -> Standing:
    site = control.site("default", "default")
    return control.change_standing(site, lambda before: before.with_class(label, entry))


def test_a_suspended_class_does_not_answer_here_and_at_every_replica(control: Control, data: Data) -> None:
    other = Control(LocalDocuments(data.folder / "control"), Catalog(data.folder))
    other.poll()
    stand(control, suspended())
    assert control.site("default", "default").suspended == {"red"}
    assert other.site("default", "default").suspended == frozenset()
    other.poll()
    site = other.site("default", "default")
    assert site.suspended == {"red"}
    assert site.table is not None
    assert site.table.automatic.tolist() == [False, True, False]
    assert site.table_unsuspended is not None
    assert site.table_unsuspended.automatic.tolist() == [True, True, False]
    before = other.site("default", "default")
    other.poll()
    assert other.site("default", "default") is before, "nothing changed, nothing is built again"


def test_the_document_s_own_suspensions_add_up_and_survive_a_change(control: Control, data: Data) -> None:
    stand(control, suspended())
    data.declare(suspended=["green"])
    control.poll()
    assert control.site("default", "default").suspended == {"red", "green"}
    document = control.site("default", "default").document.model_copy(update={"suspended": ()})
    changed, _ = control.put("default", "default", document, control.site("default", "default").etag)
    assert changed.suspended == {"red"}
    assert control.site("default", "default").suspended == {"red"}


def test_an_override_that_ended_suspends_again_without_anybody_s_doing(control: Control) -> None:
    stand(control, suspended(state="resumed", until=now_us() + HOUR))
    assert control.site("default", "default").suspended == frozenset()
    entry = control.site("default", "default").standing
    assert entry is not None
    assert entry.suspended(control.site("default", "default").proofs, now_us() + HOUR) == {"red"}
    stand(control, suspended(state="resumed", until=now_us()))
    control.poll()
    assert control.site("default", "default").suspended == {"red"}


DAY = datetime.timedelta(days=1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"images_from": WHEN - DAY}, ""),
        ({"certified_at": WHEN + 2 * DAY}, "does not say when its images came"),
        ({"certified_at": WHEN + 2 * DAY, "images_from": WHEN - DAY}, "its earliest image came before the suspension"),
    ],
)
def test_old_images_certified_again_end_no_suspension(changes: dict[str, datetime.datetime], says: str) -> None:
    entry, proof = suspended(), bundles.certificate(**changes)
    assert entry.silences(proof, us(UNTIL))
    assert not entry.overcome(proof)
    assert says in entry.unmoved(proof)
    assert bool(entry.unmoved(proof)) == bool(says)
    assert suspended(state="resumed", until=5).silences(proof, us(UNTIL))


def test_images_that_came_after_the_suspension_end_it() -> None:
    newer = bundles.certificate(certified_at=WHEN + 2 * DAY, images_from=WHEN + DAY)
    assert not suspended().silences(newer, us(UNTIL))
    assert not suspended(state="resumed", until=5).silences(newer, us(UNTIL))
    assert suspended().unmoved(newer) == ""


def test_a_class_that_is_not_automatic_has_nothing_to_lose(control: Control) -> None:
    stand(control, suspended(), "blue")
    stand(control, suspended(), "a label of another bundle")
    assert control.site("default", "default").suspended == frozenset()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b'{"classes": {"red": {"state": "gone"}}}', b'{"x": 1}']
)
def test_a_broken_document_leaves_the_one_before_in_force(control: Control, data: Data, content: bytes) -> None:
    stand(control, suspended())
    good = path_of(control).read_bytes()
    path_of(control).write_bytes(content)
    control.poll()
    assert control.site("default", "default").suspended == {"red"}
    (problem,) = control.problems.values()
    assert problem.startswith("standing of default/default: ")
    assert "\n" not in problem
    with pytest.raises(ModelStoreError, match="standing of default/default"):
        stand(control, suspended())
    fresh = Control(LocalDocuments(data.folder / "control"), Catalog(data.folder))
    fresh.poll()
    assert fresh.site("default", "default").suspended == {"red", "green"}, "nobody knows: no class answers"
    path_of(control).write_bytes(good)
    control.poll()
    fresh.poll()
    assert control.problems == {}
    assert fresh.site("default", "default").suspended == {"red"}


def test_without_a_document_nothing_is_suspended(control: Control) -> None:
    stand(control, suspended())
    path_of(control).unlink()
    control.poll()
    assert control.site("default", "default").suspended == frozenset()


def test_a_change_over_a_site_that_changed_meanwhile_is_refused(control: Control, data: Data) -> None:
    site = control.site("default", "default")
    data.declare(mode="assist")
    with pytest.raises(PreconditionFailed, match="read it again"):
        control.change_standing(site, lambda before: before.with_class("red", suspended()))
    assert not path_of(control).exists()


async def test_of_many_writers_none_undoes_another_s_change(data: Data) -> None:
    writers = [Control(LocalDocuments(data.folder / "control"), Catalog(data.folder)) for _ in range(8)]
    for writer in writers:
        writer.poll()
    await asyncio.gather(
        *(asyncio.to_thread(stand, writer, suspended(), f"label {n}") for n, writer in enumerate(writers))
    )
    writers[0].poll()
    found = writers[0].site("default", "default").standing
    assert found is not None
    assert len(found.classes) == 8


async def test_an_image_is_decided_under_the_suspensions_in_force(gateway: Wired) -> None:
    assert (await gateway.predict("red", 1))["route"] == "automatic"
    stand(gateway.control, suspended())
    reply = await gateway.predict("red", 2)
    assert (reply["route"], "class_suspended" in reply["reasons"]) == ("review", True)
    assert gateway.predictions()[-1].policy.suspended == ("red",)
    assert (await gateway.predict("green", 3))["route"] == "automatic"
