"""Every fault in turn, and the table.

python -m tests.faults [--quick] [--only WORD] [--but WORD]      what everybody saw, and what was lost
python -m tests.faults --save [...]                              and keep it in docs/benchmarks/faults.json, fault by fault
"""

from __future__ import annotations

import argparse
import json

from tests.benchmarks.serving import environment
from tests.faults.faults import FAULTS
from tests.faults.run import QUICK, Size, run
from tests.faults.table import RESULTS, kept, rows_of, show


def main() -> None:
    """The exit code is 1 when anything was lost or doubled, or a fault did not come to its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few callers and reviewers, for a short time")
    parser.add_argument("--save", action="store_true", help=f"put each row into {RESULTS}, in place of the one before")
    parser.add_argument("--only", default="", help="only faults with this in their name")
    parser.add_argument("--but", help="no faults with this in their name")
    parser.add_argument("--missing", action="store_true", help="only faults without a row of this size")
    given = parser.parse_args()
    size = QUICK if given.quick else Size()
    chosen = [fault for fault in FAULTS if given.only in fault.name and not (given.but and given.but in fault.name)]
    if given.missing:
        there = rows_of(vars(size))
        chosen = [fault for fault in chosen if fault.name not in there]
    bad = 0
    for number, fault in enumerate(chosen, 1):
        try:
            found = run(fault, size)
        except AssertionError as error:
            bad += 1
            print(
                f"{number}/{len(chosen)} {fault.name}: {error}", *getattr(error, "__notes__", ()), sep="\n", flush=True
            )
            continue
        row = found.row()
        bad += bool(row["lost"] or row["doubled"])
        print(f"{number}/{len(chosen)}", json.dumps(row), flush=True)
        for line in (*found.judgement.lost[:5], *found.judgement.doubled[:5]):
            print("   ", line, flush=True)
        if given.save:
            RESULTS.write_text(json.dumps(kept(row, vars(size), environment()), indent=1) + "\n")
            show()
    raise SystemExit(bad > 0)


if __name__ == "__main__":
    main()
