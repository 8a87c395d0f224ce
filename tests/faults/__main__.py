"""Every fault in turn, and the table.

python -m tests.faults [--quick] [--save] [--only WORD] [--but WORD]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tests.benchmarks.serving import environment
from tests.faults.faults import FAULTS
from tests.faults.run import QUICK, Size, run

RESULTS = Path("docs/benchmarks/faults.json")


def main() -> None:
    """The exit code is 1 when anything was lost or doubled, or a fault did not come to its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few callers and reviewers, for a short time")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS}")
    parser.add_argument("--only", default="", help="only faults with this in their name")
    parser.add_argument("--but", help="no faults with this in their name")
    given = parser.parse_args()
    size = QUICK if given.quick else Size()
    chosen = [fault for fault in FAULTS if given.only in fault.name and not (given.but and given.but in fault.name)]
    rows: list[dict[str, Any]] = []
    failed = 0
    for number, fault in enumerate(chosen, 1):
        try:
            found = run(fault, size)
        except AssertionError as error:
            failed += 1
            print(
                f"{number}/{len(chosen)} {fault.name}: {error}", *getattr(error, "__notes__", ()), sep="\n", flush=True
            )
            continue
        rows.append(found.row())
        print(f"{number}/{len(chosen)}", json.dumps(rows[-1]), flush=True)
        for line in (*found.judgement.lost[:5], *found.judgement.doubled[:5]):
            print("   ", line, flush=True)
    if given.save and not failed:
        RESULTS.write_text(json.dumps({"size": vars(size), "faults": rows, **environment()}, indent=1) + "\n")
    raise SystemExit(bool(failed) or any(row["lost"] or row["doubled"] for row in rows))


if __name__ == "__main__":
    main()
