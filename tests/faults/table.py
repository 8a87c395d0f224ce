"""The table of what was seen: kept as JSON, and shown in docs/faults.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.faults.faults import FAULTS

RESULTS = Path("docs/benchmarks/faults.json")
PAGE = Path("docs/faults.md")
HEAD = (
    "| fault | callers saw | reviewers saw | served meanwhile | slowest | normal after | lost | doubled |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def kept(row: dict[str, Any], size: dict[str, Any], environment: dict[str, object]) -> dict[str, Any]:
    """What is to be written: this row in place of the fault's last one. Rows of another size, and of faults that are no more,
    are left out."""
    rows = {**rows_of(size), row["fault"]: row}
    return {"size": size, "faults": [rows[fault.name] for fault in FAULTS if fault.name in rows], **environment}


def rows_of(size: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Fault -> its row, of those that were kept of this size."""
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return {each["fault"]: each for each in before.get("faults", ())} if before.get("size") == size else {}


def show() -> None:
    """Puts what was kept in place of the page's table."""
    rows = json.loads(RESULTS.read_text())["faults"]
    page = re.sub(re.escape(HEAD) + r"(\|.*\n)*", lambda _: shown(rows), PAGE.read_text())
    PAGE.write_text(page)


def shown(rows: list[dict[str, Any]]) -> str:
    """As a table of Markdown."""
    return HEAD + "".join(_line(row) for row in rows)


def _line(row: dict[str, Any]) -> str:
    share, slowest, after = row["served_meanwhile"], row["slowest_s"], row["normal_after_s"].values()
    normal = "never" if None in after else f"{max(after):g} s"
    return (
        f"| {row['fault']} | {_saw(row['callers_saw'])} | {_saw(row['reviewers_saw'])} "
        f"| {share['callers']:.0%} / {share['reviewers']:.0%} "
        f"| {slowest['callers']:g} s / {slowest['reviewers']:g} s | {normal} | {row['lost']} | {row['doubled']} |\n"
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
