"""The table of what was seen: kept as JSON, and shown in docs/faults.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.faults.faults import FAULTS

RESULTS = Path("docs/benchmarks/faults.json")
PAGE = Path("docs/faults.md")
HEAD = (
    "| fault | callers saw | reviewers saw | served meanwhile, callers / reviewers | normal after | lost | doubled |\n"
    "|---|---|---|---|---|---|---|\n"
)


def kept(row: dict[str, Any], size: dict[str, Any], environment: dict[str, object]) -> dict[str, Any]:
    """What is to be written: this row in place of the fault's last one. Rows of another size, and of faults that are no more,
    are left out."""
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rows = {each["fault"]: each for each in before.get("faults", ())} if before.get("size") == size else {}
    rows[row["fault"]] = row
    return {
        "size": size, "faults": [rows[fault.name] for fault in FAULTS if fault.name in rows], **environment
    }  # fmt: skip


def shown(rows: list[dict[str, Any]]) -> str:
    """As a table of Markdown."""
    return HEAD + "".join(_line(row) for row in rows)


def _line(row: dict[str, Any]) -> str:
    share, after = row["served_meanwhile"], row["normal_after_s"].values()
    normal = "never" if None in after else f"{max(after):g} s"
    return (
        f"| {row['fault']} | {_saw(row['callers_saw'])} | {_saw(row['reviewers_saw'])} "
        f"| {share['callers']:.0%} / {share['reviewers']:.0%} | {normal} | {row['lost']} | {row['doubled']} |\n"
    )


def _saw(counts: dict[str, int]) -> str:
    """Everything but what was answered: connections that broke together, since which error it is says nothing."""
    told: dict[str, int] = {}
    for what, count in counts.items():
        last = what.rpartition(" ")[2]
        if last == "200":
            continue
        name = "no connection" if last.endswith("Error") else what if what.startswith("deferred") else last
        told[name] = told.get(name, 0) + count
    return ", ".join(f"{count} {name}" for name, count in sorted(told.items())) or "nothing"
