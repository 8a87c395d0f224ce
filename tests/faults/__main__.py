"""Every fault in turn, and the table.

python -m tests.faults [--save] [--only WORD]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tests.benchmarks.serving import environment
from tests.faults.faults import FAULTS
from tests.faults.run import Size, run

RESULTS = Path("docs/benchmarks/faults.json")


def main() -> None:
    """The exit code is 1 when anything was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS}")
    parser.add_argument("--only", default="", help="only faults with this in their name")
    given = parser.parse_args()
    rows = []
    for fault in FAULTS:
        if given.only not in fault.name:
            continue
        found = run(fault, Size())
        rows.append(found.row())
        print(json.dumps(rows[-1]), flush=True)
        for line in (*found.judgement.lost[:5], *found.judgement.doubled[:5]):
            print("   ", line, flush=True)
    if given.save:
        RESULTS.write_text(json.dumps({"size": vars(Size()), "faults": rows, **environment()}, indent=1) + "\n")
    raise SystemExit(any(row["lost"] or row["doubled"] for row in rows))


if __name__ == "__main__":
    main()
