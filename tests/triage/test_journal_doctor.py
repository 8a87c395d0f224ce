"""Damage of the journal is a finding of the doctor, by file and bytes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from embedded.ports import free_ports
from tests.services import Data
from tests.triage.test_journal import write
from tests.triage.written import event
from triage.doctor import Finding, examine
from triage.journal.reading import segments
from triage.settings import Settings


def found(data: Data) -> list[Finding]:
    nowhere = f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    settings = Settings(data=data.folder, redis_url=nowhere, classifier="inprocess")
    return [each for each in asyncio.run(examine(settings)) if each.part == "journals"]


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
