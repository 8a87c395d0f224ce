"""Who may be given items now, and how many: skills, shifts by the wall's clock, daily caps. Refusals say when or how."""

from __future__ import annotations

import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from triage.reviewing.person_document import PersonDocument
from triage.reviewing.shifts import day_began, left, next_shift, on, refusal

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime.datetime(2026, 11, 23, 10, tzinfo=BERLIN)


def person(**fields: Any) -> PersonDocument:
    return PersonDocument.model_validate(fields)


def shift(begins: str, ends: str, *weekdays: str, timezone: str = "Europe/Berlin") -> dict[str, Any]:
    return {"weekdays": weekdays or ("mon",), "from": begins, "to": ends, "timezone": timezone}


@pytest.mark.parametrize(
    ("hours", "hour", "works"),
    [
        (("08:00", "12:00"), 8, True), (("08:00", "12:00"), 12, False), (("10:00", "10:00"), 9, False),
        (("10:00", "10:00"), 23, True), (("22:00", "06:00"), 23, True), (("22:00", "06:00"), 5, False),
    ],
)  # fmt: skip
def test_a_shift_holds_its_begin_and_not_its_end(hours: tuple[str, str], hour: int, works: bool) -> None:
    (found,) = person(shifts=[shift(*hours)]).shifts
    assert on(found, MONDAY.replace(hour=hour)) == works


def test_a_night_shift_goes_into_the_next_day_and_is_read_by_its_own_clock() -> None:
    (found,) = person(shifts=[shift("22:00", "06:00", "sun")]).shifts
    assert on(found, MONDAY.replace(hour=5))
    assert not on(found, MONDAY.replace(hour=6))
    assert on(found, MONDAY.replace(hour=5).astimezone(ZoneInfo("Asia/Kathmandu")))


def test_a_day_that_has_a_hour_more_is_as_long_as_its_clock_says() -> None:
    (found,) = person(shifts=[shift("00:00", "00:00", "sun")]).shifts
    night = datetime.datetime(2026, 10, 25, tzinfo=BERLIN)  # clocks go back at three
    minutes = [night.astimezone(datetime.UTC) + datetime.timedelta(minutes=each) for each in range(26 * 60)]
    assert sum(on(found, minute) for minute in minutes) == 25 * 60


@given(
    st.datetimes(datetime.datetime(2026, 1, 1), datetime.datetime(2028, 1, 1), timezones=st.just(datetime.UTC)),
    st.times(), st.times(), st.sets(st.sampled_from(["mon", "wed", "sat"]), min_size=1),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"]),
)  # fmt: skip
def test_the_next_shift_is_one_and_comes_later(
    now: datetime.datetime, begins: datetime.time, ends: datetime.time, weekdays: set[str], timezone: str
) -> None:
    hours = shift(begins.isoformat(), ends.isoformat(), *sorted(weekdays), timezone=timezone)
    someone = person(shifts=[hours])
    coming = next_shift(someone, now)
    assert coming is not None
    assert now < coming <= now + datetime.timedelta(days=9)
    assert coming.timetz().replace(tzinfo=None) == begins


@pytest.mark.parametrize(
    ("fields", "skills", "says"),
    [
        ({"active": False}, (), "ada does not review here any more; a manager sets active in their document"),
        ({"skills": ["ct"]}, ("ct", "mr"), "the skill 'mr', which ada lacks; a manager adds it"),
        ({"shifts": [shift("12:00", "13:00")]}, (), "not on shift; the next one begins on Monday at 12:00 (Europe/Berlin)"),
        ({"shifts": [shift("08:00", "09:00")]}, (), "not on shift; the next one begins on Monday at 08:00"),
    ],
)  # fmt: skip
def test_a_refusal_says_why_and_what_then(fields: dict[str, Any], skills: tuple[str, ...], says: str) -> None:
    said = refusal("ada", person(**fields), skills, MONDAY)
    assert said is not None
    assert says in said


def test_whoever_fits_is_not_refused() -> None:
    assert refusal("ada", None, (), MONDAY) is None
    assert refusal("ada", person(skills=["ct"], shifts=[shift("09:00", "11:00")]), ("ct",), MONDAY) is None
    assert "lacks" in (refusal("ada", None, ("ct",), MONDAY) or "")


def test_a_cap_counts_answers_and_what_is_in_hand() -> None:
    assert left("ada", person(), 500, 3) == (None, None)
    assert left("ada", person(daily_cap=10), 4, 3) == (3, None)
    assert left("ada", person(daily_cap=10), 4, 6)[0] == 0
    assert "give them back" in (left("ada", person(daily_cap=10), 4, 6)[1] or "")
    assert "go on tomorrow" in (left("ada", person(daily_cap=10), 10, 0)[1] or "")


def test_a_day_begins_where_the_person_is() -> None:
    began = day_began(person(timezone="Asia/Kathmandu"), MONDAY)
    assert (began.hour, began.minute, str(began.tzinfo)) == (0, 0, "Asia/Kathmandu")
    assert datetime.timedelta() <= MONDAY - began < datetime.timedelta(days=1)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"timezone": "Mars/Base"}, "'Mars/Base' is no time zone; name one as in 'Europe/Berlin'"),
        ({"shifts": [shift("08:00", "09:00", "monday")]}, "mon"),
        ({"shifts": [{"weekdays": [], "from": "08:00", "to": "09:00"}]}, "at least 1"),
        ({"daily_cap": -1}, "greater than or equal to 0"),
    ],
)
def test_a_document_that_means_nothing_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        person(**fields)
