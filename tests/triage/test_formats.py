"""What earlier releases wrote is read by this one: journals, Parquet, documents, rules, bundles.

`tests/fixtures/formats/<release>/` is a data folder as that release left it, with its log; what it knew of its records lies
beside it in `records.jsonl`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model_store.record import PredictionRecord, Record
from triage.archive.archiver import Archiver
from triage.archive.export import export
from triage.archive.history import History
from triage.archive.stats import stats
from triage.control.catalog import Catalog
from triage.control.sites import Control
from triage.explain import explain
from triage.journal.reading import Damage, nodes, read, segments, verify
from triage.journal.segments import SegmentJournal
from triage.store.audit_key import audit_key
from triage.store.documents import LocalDocuments
from triage.store.places import open_objects

RELEASES = sorted((Path(__file__).parents[1] / "fixtures" / "formats").iterdir())


@pytest.fixture(params=RELEASES, ids=[path.name for path in RELEASES])
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy, since a gateway writes into what it opens."""
    return Path(shutil.copytree(request.param, tmp_path / "data"))


def written(release: Path) -> list[dict[str, Any]]:
    """The records as that release knew them, in order."""
    return [json.loads(line) for line in (release / "records.jsonl").read_text().splitlines()]


def agree(read_now: list[Record], then: list[dict[str, Any]]) -> bool:
    """Every field of then has its value now; fields of today have their defaults."""
    now = {_key(each): each for each in map(_builtins, read_now)}
    return len(now) == len(then) and all(
        ({part: now[_key(each)][name][part] for part in value} if name == "policy" else now[_key(each)][name]) == value
        for each in then
        for name, value in each.items()
    )


def _key(told: dict[str, Any]) -> str:
    return f"{told['id']} {told.get('revision')}"


def _builtins(record: Record) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(msgspec.json.encode(record))
    return told


def test_the_journal(release: Path) -> None:
    told: list[Damage] = []
    (node,) = nodes(release / "journal")
    assert agree([record for _, record in read(node, told=told.append)], written(release))
    for path in segments(node):
        verify(path, told.append)
    assert told == []


def test_the_parquet(release: Path) -> None:
    history = History(open_objects(release / "log"), release / "nowhere")
    assert agree(list(history.once()), written(release))


def test_the_next_start_goes_on_behind_it_and_the_archive_takes_it(release: Path) -> None:
    (node,) = nodes(release / "journal")
    before = len(segments(node))
    journal = SegmentJournal(release / "journal", node.name, 2**20, lambda seconds: None)
    journal.start()
    journal.close()
    assert len(segments(node)) == before + 1
    objects = open_objects(release / "archived again")
    assert Archiver(objects, release / "journal").turn().segments == before + 1
    assert agree(list(History(objects, release / "nowhere").once()), written(release))
    assert sum(export(release / "journal", release / "exported").values()) == len(written(release))


def test_every_prediction_still_explains_itself(release: Path) -> None:
    catalog, key = Catalog(release), audit_key(release / "control")
    (node,) = nodes(release / "journal")
    records = [record for _, record in read(node) if isinstance(record, PredictionRecord)]
    assert len({record.route for record in records}) == 3
    for record in records:
        assert explain(record, catalog, key).agrees
    counted = stats(record for _, record in read(node))
    assert counted["rows"]["predictions"] == len(records)


def test_the_documents(release: Path) -> None:
    control = Control(LocalDocuments(release / "control"), Catalog(release), ())
    control.poll()
    assert control.problems == {}
    assert {f"{site.project}/{site.name}": site.document.mode for site in control.sites} == {
        "default/default": "live", "default/ward": "capture"
    }  # fmt: skip
    assert control.site("default", "ward").suspended == {"red"}
