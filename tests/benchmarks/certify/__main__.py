"""`make bench-certify`: whether certificates keep their promise, on which images, for how long, and how fast, as one table.

python -m tests.benchmarks.certify                    the table
python -m tests.benchmarks.certify --save             and keep it as docs/benchmarks/certify.json
python -m tests.benchmarks.certify --only speed       one part; with --save the others' figures stay
"""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import table

PARTS = ("promise", "unlike", "monitor", "speed")
LIBRARIES = ("scipy", "timm", "scikit-learn")

if __name__ == "__main__":
    table.main(__doc__, "tests.benchmarks.certify", PARTS, Path("docs/benchmarks/certify.json"), LIBRARIES)
