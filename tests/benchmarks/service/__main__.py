"""`make bench-service`: the service's speed and memory, as one table.

python -m tests.benchmarks.service                    the table
python -m tests.benchmarks.service --save             and keep it as docs/benchmarks/service.json
python -m tests.benchmarks.service --only noop        one part; with --save the others' figures stay
"""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import table

PARTS = ("direct", "noop", "journal", "waiting", "recovery", "following")
LIBRARIES = ("uvicorn", "uvloop", "httptools", "redis", "msgspec")

if __name__ == "__main__":
    table.main(__doc__, "tests.benchmarks.service", PARTS, Path("docs/benchmarks/service.json"), LIBRARIES)
