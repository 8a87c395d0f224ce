"""A gateway brings its closed segments to the log by itself, in another process, and from the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import secondreader
from embedded.ports import free_ports
from tests.triage.failing_objects import content
from tests.triage.object_store import running_s3
from tests.triage.test_archiver import seen
from tests.triage.test_journal import journal, write
from tests.triage.written import event
from triage.archive.background import Archiving
from triage.errors import Unavailable
from triage.journal.reading import segments
from triage.metrics import Metrics
from triage.ports import Position
from triage.store.places import open_objects


def unarchived(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("triage_journal_unarchived_bytes")


async def test_what_is_closed_is_archived_and_what_is_old_is_removed(tmp_path: Path) -> None:
    metrics, indexed, now = Metrics(), list[Position](), [0.0]
    log = open_objects(tmp_path / "log")
    await asyncio.to_thread(write, tmp_path / "journal", event(1))
    archiving = Archiving(
        tmp_path / "journal", str(tmp_path / "log"), "n", 0.0, lambda: indexed[0] if indexed else None, metrics,
        lambda: now[0],
    )  # fmt: skip
    with journal(tmp_path / "journal", segment_bytes=4096) as opened:
        for number in range(9):
            await opened.append(event(10 + number, 1000))
        await archiving.step()
        assert {name for name in content(log) if name.startswith("segments")} == {
            f"segments/n/0000000{number}.json" for number in (1, 2, 3)
        }
        assert (unarchived(metrics) or 0) > 1000  # the segment that is being written
        assert len(segments(tmp_path / "journal" / "n")) == 4
        indexed.append(opened.end)
        now[0] = 10_000
        await archiving.step()
        assert len(segments(tmp_path / "journal" / "n")) == 1
        assert len(seen(log, tmp_path / "journal")) == 10


async def test_a_store_that_is_away_is_asked_again_later_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(write, tmp_path / "journal", event(1))
    now = [0.0]
    with running_s3(tmp_path / "s3") as s3:
        archiving = Archiving(
            tmp_path / "journal", s3.url("log"), "n", 0.0, lambda: None, Metrics(), lambda: now[0]
        )  # fmt: skip
        await asyncio.to_thread(archiving._look)
        with monkeypatch.context() as away:
            away.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
            with pytest.raises(
                Unavailable, match=r"^the journal cannot be archived: the object store s3://tests/log does"
            ):
                await archiving.step()
        await archiving.step()  # too early: nothing is asked
        assert content(open_objects(s3.url("log"))) == {}
        now[0] = 11
        await archiving.step()
        assert len(content(open_objects(s3.url("log")))) == 2


def test_the_command_line_archives_and_merges(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "data" / "journal", event(number))

    def run(*arguments: str) -> dict[str, int]:
        done = CliRunner().invoke(secondreader.main, ["log", *arguments, "--data", str(tmp_path / "data"), "--json"])
        assert done.exit_code == 0, done.output
        told: dict[str, int] = json.loads(done.output)
        return told

    assert run("archive")["segments"] == 3
    assert run("archive")["segments"] == 0
    assert run("compact") == {"merged": 3, "into": 1, "deleted": 3}
    for path in segments(tmp_path / "data" / "journal" / "n")[:2]:
        path.unlink()
    assert run("export", "--out", str(tmp_path / "out"))["events"] == 3


def test_damage_is_told_on_the_command_line(tmp_path: Path) -> None:
    positions = write(tmp_path / "data" / "journal", event(1), event(2))
    path = segments(tmp_path / "data" / "journal" / "n")[0]
    damaged = bytearray(path.read_bytes())
    damaged[positions[0].offset + 12] ^= 1
    path.write_bytes(damaged)
    options = ["--data", str(tmp_path / "data")]
    done = CliRunner().invoke(secondreader.main, ["log", "export", "--out", str(tmp_path / "out"), *options])
    assert done.exit_code == 1
    assert f"damaged: {path}: bytes {positions[0].offset} to {positions[1].offset} are damaged" in done.output
    assert CliRunner().invoke(secondreader.main, ["log", "archive", *options]).exit_code == 1
