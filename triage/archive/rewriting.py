"""Takes rows out of archived files."""

from __future__ import annotations

from collections.abc import Callable

from model_store.record import Record
from triage.archive.layout import file_of
from triage.archive.tables import TableWriter, from_parquet
from triage.errors import NotFound
from triage.store.objects import Objects


def rewrite(objects: Objects, name: str, hidden: Callable[[Record], bool]) -> list[Record]:
    """Puts a Parquet object anew without what is hidden, or deletes it when nothing is left; what was taken out.

    Whoever dies before the put has changed nothing, and reading finds the old object or the new one.
    """
    file = file_of(name)
    assert file is not None
    try:
        content = objects.get(name)
    except NotFound:
        return []
    writer, taken = TableWriter(file.table), list[Record]()
    for record in from_parquet(file.table, content):
        if hidden(record):
            taken.append(record)
        else:
            writer.add(record)
    rest = writer.close()
    if not taken:
        return []
    if writer.rows:
        objects.put(name, rest)
    else:
        objects.delete(name)
    return taken
