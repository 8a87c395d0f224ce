"""What a control document says of somebody who reviews: what they can read, when they work, how much a day.

`projects/P/people/NAME.json`, by the name that they review under. Who has no document has no limits and no skills.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from triage.reviewing.queue_document import Skill

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _known(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; name one as in 'Europe/Berlin'") from None
    return name


Zone = Annotated[str, AfterValidator(_known)]


class Shift(BaseModel):
    """Hours on some days of the week, by the clock on that wall. One that ends at or before its begin ends the next day."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    weekdays: Annotated[tuple[Weekday, ...], Field(min_length=1)]
    begins: Annotated[datetime.time, Field(alias="from")]
    ends: Annotated[datetime.time, Field(alias="to")]
    timezone: Zone = "UTC"


class PersonDocument(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    active: bool = True
    """False: they are given nothing any more, and what they had goes back to its queues."""
    skills: tuple[Skill, ...] = ()
    shifts: tuple[Shift, ...] = ()
    """None: at any time."""
    daily_cap: Annotated[int, Field(ge=0)] | None = None
    """Answers a day, over all queues of the project."""
    timezone: Zone = "UTC"
    """In which a day begins."""
