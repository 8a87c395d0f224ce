"""The standing documents as last read, each parsed once; of a broken one the former stays in force."""

from __future__ import annotations

from model_store.errors import ModelStoreError
from triage.control.shelf import Text
from triage.promise import standing
from triage.promise.standing import Standing

NONE = Text(b"{}", "")
"""Of a site that has no standing document: nothing is suspended there."""


class Standings:
    """One object for the life of a `Control`, which sees to it that one thread calls at a time."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[str, Standing]] = {}
        """Each with the etag it was read with."""

    def of(self, project: str, name: str, text: Text) -> Standing:
        """What a site's standing document says. Raises ModelStoreError."""
        known = self._known.get((project, name))
        if known is None or known[0] != text.etag:
            known = text.etag, standing.parse(text.content, f"{project}/{name}")
            self._known[project, name] = known
        return known[1]

    def in_force(self, project: str, name: str, text: Text, problems: dict[str, str]) -> Standing | None:
        """The same, or of a broken document the newest that could be read; None when none ever could."""
        where = f"{project}/{name}"
        try:
            return self.of(project, name, text)
        except ModelStoreError as error:
            problems[where] = f"{problems[where]}; {error}" if where in problems else str(error)
            known = self._known.get((project, name))
            return known[1] if known else None

    def put(self, project: str, name: str, etag: str, found: Standing) -> None:
        """It was changed here."""
        self._known[project, name] = etag, found
