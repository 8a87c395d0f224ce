"""Whether somebody may be given items now, and how many. Pure: documents, counts and a moment in, a sentence out.

A refusal is one sentence that says when or how it would be otherwise.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection
from zoneinfo import ZoneInfo

from triage.reviewing.person_document import PersonDocument, Shift, Weekday

_WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = datetime.timedelta(days=1)


def refusal(name: str, person: PersonDocument | None, skills: Collection[str], now: datetime.datetime) -> str | None:
    """Why a person is given nothing from a queue that asks for these skills; None when they may read. `now` has a time zone."""
    lacking = sorted(set(skills) - set(person.skills if person else ()))
    if person is not None and not person.active:
        return f"{name} does not review here any more; a manager sets active in their document"
    if lacking:
        return f"this queue is read by people with the skill {lacking[0]!r}, which {name} lacks; a manager adds it"
    if person is not None and person.shifts and not any(on(shift, now) for shift in person.shifts):
        begins = next_shift(person, now)
        assert begins is not None
        return f"{name} is not on shift; the next one begins on {begins:%A at %H:%M} ({begins.tzinfo})"
    return None


def left(name: str, person: PersonDocument | None, answered: int, held: int) -> tuple[int | None, str | None]:
    """How many more items a person may be given today, None for any number; and why not, where it is none."""
    if person is None or person.daily_cap is None:
        return None, None
    count = max(0, person.daily_cap - answered - held)
    if count:
        return count, None
    if held and answered < person.daily_cap:
        return 0, f"{name} has {held} items and may answer no more today than those; answer them or give them back"
    return 0, f"{name} has answered {answered} items today, as many as allowed; go on tomorrow"


def day_began(person: PersonDocument, now: datetime.datetime) -> datetime.datetime:
    """When the person's day began."""
    return _at(now.astimezone(ZoneInfo(person.timezone)).date(), datetime.time(), person.timezone)


def on(shift: Shift, now: datetime.datetime) -> bool:
    """Whether a moment lies in the shift."""
    today = now.astimezone(ZoneInfo(shift.timezone)).date()
    spans = (_span(shift, day) for day in (today - _DAY, today))
    return any(begins <= now < ends for begins, ends in spans if begins)


def next_shift(person: PersonDocument, now: datetime.datetime) -> datetime.datetime | None:
    """When the next shift begins, by its own clock; None for somebody without shifts."""
    coming = []
    for shift in person.shifts:
        today = now.astimezone(ZoneInfo(shift.timezone)).date()
        coming += [begins for ahead in range(9) if (begins := _span(shift, today + ahead * _DAY)[0]) and begins > now]
    return min(coming, default=None)


def _span(shift: Shift, day: datetime.date) -> tuple[datetime.datetime | None, datetime.datetime]:
    """The shift that begins on a day, if one does."""
    begins = _at(day, shift.begins, shift.timezone)
    ends = _at(day if shift.ends > shift.begins else day + _DAY, shift.ends, shift.timezone)
    return (begins if _WEEKDAYS[day.weekday()] in shift.weekdays else None), ends


def _at(day: datetime.date, time: datetime.time, zone: str) -> datetime.datetime:
    return datetime.datetime.combine(day, time, ZoneInfo(zone))
