"""`make bench-service`: the service's speed and memory, as one table.

python -m tests.benchmarks.service                    the table
python -m tests.benchmarks.service --save             and keep it as docs/benchmarks/service.json
python -m tests.benchmarks.service --only noop        one part; with --save the others' figures stay
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.serving import environment

PARTS = ("direct", "noop", "journal", "waiting", "recovery", "following")
RESULTS = Path("docs/benchmarks/service.json")


def main() -> None:
    """Prints the table; the exit code is 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--only", choices=PARTS, action="append")
    asked = parser.parse_args()
    parts: dict[str, dict[str, Any]] = {}
    shown = Table("measure", "found", "must reach", "")
    missed = False
    versions = {
        name: importlib.metadata.version(name) for name in ("uvicorn", "uvloop", "httptools", "redis", "msgspec")
    }
    for name in asked.only or PARTS:
        module = importlib.import_module(f"tests.benchmarks.service.{name}")
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        where = {"date": today, "environment": {**environment(), **versions}}  # each its own: parts are run apart
        parts[name] = {**where, **module.run()}
        for measure, found, wanted, reached in module.rows(parts[name]):
            shown.add_row(measure, found, wanted, "[green]yes[/green]" if reached else "[red]no[/red]")
            missed |= not reached
    Console(width=170).print(shown)
    if asked.save:
        kept = json.loads(RESULTS.read_text()) if asked.only and RESULTS.exists() else {}
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps({**kept, **parts}, indent=1) + "\n")
    raise SystemExit(missed)


if __name__ == "__main__":
    main()
