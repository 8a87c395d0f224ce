"""Deciding the whole log again: unchanged rules agree with every record, other rules say what they would change."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

import secondreader
from model_store.bundle import Bundle
from model_store.record import PredictionRecord, Record
from model_store.rules import Rules
from tests import bundles
from tests.triage.gateway_parts import Wired
from tests.triage.test_explain import every_kind, tampered
from tests.triage.test_journal import write
from triage.archive.archiver import Archiver
from triage.archive.history import History
from triage.control.catalog import Catalog
from triage.journal.reading import read, segments
from triage.replay import replay, what_if
from triage.store.places import open_objects


def stricter(bundle: Bundle) -> Rules:
    """The usual rules, but red never answers."""
    usual = bundles.rules(bundle)
    red = usual.classes["red"].model_copy(update={"state": "assist", "certificate": None})
    return usual.model_copy(update={"classes": {**usual.classes, "red": red}})


def run(gateway: Wired, *arguments: str) -> tuple[int, Any]:
    options = ["log", *arguments, "--data", str(gateway.data.folder), "--json"]
    done = CliRunner().invoke(secondreader.main, options)
    return done.exit_code, json.loads(done.output)


def keep(gateway: Wired, records: list[Record]) -> None:
    """The log as if these had been all that was recorded, archived and gone from this disk."""
    for path in segments(gateway.journal.folder):
        path.write_bytes(path.read_bytes()[:4])
    write(gateway.data.folder / "journal", *records)
    Archiver(open_objects(gateway.data.folder / "log"), gateway.data.folder / "journal").turn()
    for path in segments(gateway.data.folder / "journal" / "n"):
        path.unlink()


async def test_unchanged_rules_agree_with_every_record(gateway: Wired) -> None:
    records = await every_kind(gateway)
    code, told = await asyncio.to_thread(run, gateway, "replay")
    assert (code, told["decided"], told["agree"]) == (0, len(records), len(records))
    assert (told["disagree"], told["not_decided"]) == ({}, {})


async def test_the_archive_agrees_as_the_journal_does(gateway: Wired) -> None:
    records = await every_kind(gateway)
    await asyncio.to_thread(keep, gateway, gateway.journaled())
    code, told = await asyncio.to_thread(run, gateway, "replay")
    assert (code, told["agree"]) == (0, len(records))


async def test_a_touched_record_is_named(gateway: Wired) -> None:
    await gateway.predict("red")
    await gateway.predict("blue", 1)
    records = gateway.predictions()
    touched = msgspec.structs.replace(records[0], fires=("green",))
    await asyncio.to_thread(keep, gateway, [touched, records[1], touched])
    code, told = await asyncio.to_thread(run, gateway, "replay")
    assert (code, told["agree"], told["disagreeing"]) == (1, 1, 1)
    assert told["disagree"] == {
        f"{touched.id} revision 1": ["fires: recorded ('green',), decided again ('red',)"]
    }  # fmt: skip


async def test_what_cannot_be_decided_is_no_agreement(gateway: Wired) -> None:
    await gateway.predict("red")
    (record,) = gateway.predictions()
    await asyncio.to_thread(keep, gateway, [msgspec.structs.replace(record, bundle="sha256:" + "0" * 64)])
    code, told = await asyncio.to_thread(run, gateway, "replay")
    assert (code, told["agree"], list(told["not_decided"].values())) == (1, 0, [1])


async def test_other_rules_say_what_they_would_change(gateway: Wired) -> None:
    other = bundles.signed(gateway.data.folder, stricter(gateway.data.bundle))
    for salt, colour in enumerate(("red", "red", "green", "blue")):
        await gateway.predict(colour, salt)
    code, told = await asyncio.to_thread(run, gateway, "replay", "--rules", other.digest)
    assert (code, told["decided"], told["changed"]) == (0, 4, 2)
    assert told["classes"] == {"red": {"automatic -> review": 2}}
    assert told["examples"] == [record.id for record in gateway.predictions() if record.fires == ("red",)]
    same = await asyncio.to_thread(run, gateway, "replay", "--rules", gateway.data.rules.digest)
    assert (same[1]["changed"], same[1]["classes"]) == (0, {})


async def test_an_answer_that_would_be_another_is_told(gateway: Wired) -> None:
    await gateway.predict("red")
    (record,) = gateway.predictions()
    swapped = tampered(tampered(record, "red", 0.01), "green", 0.999)
    changed = what_if([swapped], Catalog(gateway.data.folder), gateway.data.rules.digest)
    assert changed.classes == {"red": {"answer changed": 1}, "green": {"answer changed": 1}}


async def test_the_table_is_shown_to_people(gateway: Wired) -> None:
    other = bundles.signed(gateway.data.folder, stricter(gateway.data.bundle))
    await gateway.predict("red")

    def shown(*options: str) -> str:
        arguments = ["log", "replay", "--data", str(gateway.data.folder), *options]
        return CliRunner().invoke(secondreader.main, arguments).output

    assert "1 decided again\n1 agree, 0 disagree" in await asyncio.to_thread(shown)
    told = await asyncio.to_thread(shown, "--rules", other.digest)
    assert "1 would change under" in told
    assert "automatic -> review" in told


async def test_stats_count_each_record_once(gateway: Wired) -> None:
    records = await every_kind(gateway)
    await asyncio.to_thread(keep, gateway, [*gateway.journaled(), *gateway.journaled()])
    _, told = await asyncio.to_thread(run, gateway, "stats")
    assert told["rows"] == {"predictions": len(records)}
    default = told["sites"]["default/default"]
    first = [each for each in records if each.site == "default" and each.revision == 1]
    assert (default["predictions"], default["decided_again"]) == (len(first), 1)
    assert default["routes"] == {
        route: sum(each.route == route for each in first) for route in ("automatic", "review")
    }  # fmt: skip
    assert default["answered"] == {"red": 1, "green": 1}


async def test_replay_holds_one_file_at_a_time(gateway: Wired) -> None:
    """What is given is an iterator, and it is read as it is decided."""
    for salt in range(3):
        await gateway.predict("red", salt)
    history = History(open_objects(gateway.data.folder / "log"), gateway.data.folder / "journal")
    at_once: list[int] = []
    ahead = [0]

    def counted() -> Any:
        for record in history.once():
            ahead[0] += isinstance(record, PredictionRecord)
            yield record

    done = replay(counted(), Catalog(gateway.data.folder), None, lambda: at_once.append(ahead[0]))
    assert (done.agree, at_once) == (3, [1, 2, 3])
    assert sum(1 for _ in read(gateway.journal.folder)) == 3


@pytest.mark.parametrize("command", [("log", "stats"), ("log", "replay"), ("explain", "x")])
def test_a_folder_where_nothing_was_recorded_is_a_mistake(tmp_path: Path, command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(secondreader.main, [*command, "--data", str(tmp_path / "dta")])
    assert result.exit_code == 1
    assert (
        result.output == f"Error: nothing was recorded in {tmp_path}/dta; name the service's data folder with --data\n"
    )
    assert not (tmp_path / "dta").exists()


async def test_an_id_that_was_never_recorded_is_a_mistake(gateway: Wired) -> None:
    await gateway.predict("red")
    arguments = ["explain", "x", "--data", str(gateway.data.folder)]
    result = await asyncio.to_thread(CliRunner().invoke, secondreader.main, arguments)
    assert result.exit_code == 1
    assert result.output.startswith("Error: x stands in no journal of ")
