"""How the people of a project read: the figures of their verdicts in log and journals (reviewing/figures.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from model_store.record import VerdictRecord
from triage.archive.history import History
from triage.control.sites import Control
from triage.ids import now_us
from triage.reviewing.figures import Figures, figures
from triage.reviewing.gold_document import GoldDocument
from triage.store.places import open_objects

_DAY_US = 86_400 * 1_000_000


class Verdicts(Protocol):
    """Where verdicts are read."""

    def __call__(self, project: str, after: int) -> Iterator[VerdictRecord]:
        """A project's from after a moment, microseconds; perhaps some twice."""


class Logged:
    """Those of the log and of the journals that lie here."""

    def __init__(self, log: str, journal_folder: Path) -> None:
        self._log = log
        self._folder = journal_folder

    def __call__(self, project: str, after: int) -> Iterator[VerdictRecord]:
        history = History(open_objects(self._log), self._folder)
        for record in history.records(None, ("verdicts",), after):
            if isinstance(record, VerdictRecord) and record.project == project and record.at > after:
                yield record


class People:
    """One object for the life of the gateway. One question at a time: each reads the log."""

    def __init__(self, control: Control, verdicts: Verdicts) -> None:
        self._control = control
        self._verdicts = verdicts
        self._one = asyncio.Lock()

    async def figures(self, project: str, days: float) -> Figures:
        """Of the last `days`. Raises NotFound, Unavailable."""
        labels = self._control.labels(project)
        golds: dict[str, GoldDocument] = self._control.of("gold", project)
        known: dict[str, Mapping[str, str]] = {name: gold.answers for name, gold in golds.items()}
        after = now_us() - round(days * _DAY_US)
        async with self._one:
            return await asyncio.to_thread(lambda: figures(self._verdicts(project, after), labels, known))
