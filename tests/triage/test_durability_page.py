"""docs/durability.md: every promise names tests that exist, and the bytes it lists are those that the code writes."""

from __future__ import annotations

import re
from pathlib import Path

from triage.journal.frames import MAGIC, SEAL_BYTES, Summing, frame, seal_of

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "durability.md").read_text()


def test_every_promise_names_tests_that_exist() -> None:
    rows = [line for line in PAGE.splitlines() if re.match(r"\|.*`test_\w+\.py`", line)]
    assert len(rows) > 12
    for row in rows:
        for name in re.findall(r"`(test_\w+\.py)`", row):
            assert (HERE / name).is_file() or (HERE.parent / "e2e" / name).is_file(), name


def test_the_bytes_are_as_the_page_lists_them() -> None:
    assert f"0-3 | `{MAGIC.decode()}`" in PAGE
    assert f"the last {SEAL_BYTES} bytes of a closed segment" in PAGE
    framed = frame(b"record")
    assert (framed[:4], framed[8:]) == ((6).to_bytes(4, "little"), b"record")
    total = Summing()
    total.add(MAGIC + framed, 1)
    seal = total.seal()
    assert (seal[:4], seal[8:12]) == (b"\xff" * 4, b"SEAL")
    assert int.from_bytes(seal[12:20], "little") == len(MAGIC + framed)
    assert int.from_bytes(seal[20:28], "little") == 1
    found = seal_of(seal)
    assert found is not None
    assert seal[28:].hex() == found.sha256
