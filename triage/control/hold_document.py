"""A legal hold: what must not be purged, whoever asks and however old it is, for as long as the document stands.

<store>/control/projects/<project>/holds/<hold>.json
"""

from __future__ import annotations

import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from model_store.record import PredictionRecord


class HoldDocument(BaseModel):
    """Whatever one of its lists names is held; a hold that names nothing holds the whole site, or the whole project."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    why: Annotated[str, Field(min_length=1)]
    predictions: tuple[str, ...] = ()
    persons: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] = ()
    """Keyed hashes, as `secondreader log person` gives them; never names."""
    cases: tuple[str, ...] = ()
    site: str | None = None
    """None: every site of the project."""
    since: datetime.date | None = None
    until: datetime.date | None = None
    """Days (UTC) on which an image came, the last one included."""

    def holds(self, record: PredictionRecord) -> bool:
        """Whether an image of this hold's project must stay. Pure."""
        if self.site is not None and record.site != self.site:
            return False
        day = datetime.datetime.fromtimestamp(record.received_at / 1e6, datetime.UTC).date()
        if (self.since is not None and day < self.since) or (self.until is not None and day > self.until):
            return False
        if not (self.predictions or self.persons or self.cases):
            return True
        return (
            record.id in self.predictions
            or (bool(record.person) and record.person in self.persons)
            or (record.case is not None and record.case in self.cases)
        )
