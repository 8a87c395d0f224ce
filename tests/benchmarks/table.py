"""The table that a set of benchmarks prints, and the file that it is kept in."""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.metadata
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.serving import environment

Row = tuple[str, str, str, bool]
"""Measure, what was found, what it must reach, whether it does."""


def show(rows: Iterable[Row], width: int = 170) -> bool:
    """Prints them; whether every target is reached."""
    table, all_reached = Table("measure", "found", "must reach", ""), True
    for measure, found, wanted, reached in rows:
        table.add_row(measure, found, wanted, "[green]yes[/green]" if reached else "[red]no[/red]")
        all_reached &= reached
    Console(width=width).print(table)
    return all_reached


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def main(about: str | None, package: str, parts: tuple[str, ...], results: Path, libraries: Iterable[str]) -> None:
    """Runs the parts that were asked for, modules of `package` with `run` and `rows`; the exit code is 1 when a target is
    missed. With `--save` what they found is kept, beside the versions of these libraries."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--only", choices=parts, action="append")
    asked = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    rows: list[Row] = []
    versions = {name: importlib.metadata.version(name) for name in libraries}
    for name in asked.only or parts:
        module = importlib.import_module(f"{package}.{name}")
        where = {"date": today(), "environment": {**environment(), **versions}}  # each its own: parts are run apart
        found[name] = {**where, **module.run()}
        rows += module.rows(found[name])
    all_reached = show(rows)
    if asked.save:
        kept = json.loads(results.read_text()) if asked.only and results.exists() else {}
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps({**kept, **found}, indent=1) + "\n")
    raise SystemExit(not all_reached)
