"""`make bench-certify`: whether certificates keep their promise, on which images, for how long, and how fast, as one table.

python -m tests.benchmarks.certify                    the table
python -m tests.benchmarks.certify --save             and keep it as docs/benchmarks/certify.json
python -m tests.benchmarks.certify --only speed       one part; with --save the others' figures stay
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

PARTS = ("promise", "unlike", "monitor", "speed")
RESULTS = Path("docs/benchmarks/certify.json")


def main() -> None:
    """Prints the table; the exit code is 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--only", choices=PARTS, action="append")
    asked = parser.parse_args()
    parts: dict[str, dict[str, Any]] = {}
    shown = Table("measure", "found", "must reach", "")
    missed = False
    for name in asked.only or PARTS:
        module = importlib.import_module(f"tests.benchmarks.certify.{name}")
        parts[name] = module.run()
        for measure, found, wanted, reached in module.rows(parts[name]):
            shown.add_row(measure, found, wanted, "[green]yes[/green]" if reached else "[red]no[/red]")
            missed |= not reached
    Console(width=150).print(shown)
    if asked.save:
        kept = json.loads(RESULTS.read_text()) if asked.only and RESULTS.exists() else {}
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        versions = {name: importlib.metadata.version(name) for name in ("scipy", "timm", "scikit-learn")}
        where = {"date": today, "environment": {**environment(), **versions}}
        kept |= {name: {**where, **part} for name, part in parts.items()}  # each its own: parts are run apart
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    raise SystemExit(missed)


if __name__ == "__main__":
    main()
