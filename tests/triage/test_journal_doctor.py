"""Damage of the journal is a finding of the doctor, by file and bytes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from embedded.ports import free_ports
from tests.services import Data
from tests.triage.test_journal import write
from tests.triage.written import event
from triage.archive.archiver import Archiver
from triage.doctor import Finding, examine
from triage.journal.reading import segments
from triage.settings import Settings
from triage.store.places import open_objects


def found(data: Data, part: str = "journals", log: str | None = None) -> list[Finding]:
    nowhere = f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    settings = Settings(data=data.folder, redis_url=nowhere, classifier="inprocess", log=log)
    return [each for each in asyncio.run(examine(settings)) if each.part == part]


def test_damage_is_found_by_file_and_bytes(data: Data) -> None:
    journal = data.folder / "journal"
    positions = write(journal, *(event(number) for number in range(30)))
    assert [each.ok for each in found(data)] == [True]
    path: Path = segments(journal / "n")[0]
    content = bytearray(path.read_bytes())
    for number in range(0, 30, 2):
        content[positions[number].offset + 10] ^= 1
    path.write_bytes(content)
    says = [each.says for each in found(data) if not each.ok]
    start, end = positions[0].offset, positions[1].offset
    assert says[0] == f"{path}: bytes {start} to {end} are damaged; what follows them is read"
    assert len(says) == 11
    assert says[-1] == "and 6 more damaged places"


def test_what_is_not_in_the_log_is_told(data: Data, tmp_path: Path) -> None:
    write(data.folder / "journal", event(1))
    size = segments(data.folder / "journal" / "n")[0].stat().st_size
    (one,) = found(data, "log")
    assert (one.ok, one.says) == (
        True,
        f"{data.folder / 'log'} answers; {size} bytes of the journals are not in it yet",
    )
    Archiver(open_objects(data.folder / "log"), data.folder / "journal").turn()
    assert "; 0 bytes" in found(data, "log")[0].says
    write(tmp_path / "other", event(2))
    Archiver(open_objects(tmp_path / "log"), tmp_path / "other").turn()
    (another,) = found(data, "log", str(tmp_path / "log"))
    assert not another.ok
    assert "another gateway was named n before; set TRIAGE_NODE" in another.says
    (nowhere,) = found(data, "log", "nothing://x")
    assert not nowhere.ok
