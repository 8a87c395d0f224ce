"""Numbers and dates as the page writes them. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model_store.binomial import printed


def share(value: float, digits: int = 1) -> str:
    """0.983 as 98.3%. What is not quite all, or not quite nothing, never reads as if it were."""
    for more in range(digits, 7):
        written = f"{100 * value:.{more}f}"
        if value in (0, 1) or float(written) not in (0.0, 100.0):
            return f"{written}%" if value not in (0, 1) else f"{value:.0%}"
    return "almost 100%" if value > 0.5 else "almost 0%"


def lower_bound(bound: float, digits: int = 1) -> str:
    """A lower bound as a share, never more than it is."""
    return share(printed(bound, digits + 2), digits)


def upper_bound(bound: float, digits: int = 1) -> str:
    """An upper bound as a share, never less than it is."""
    return share(printed(bound, digits + 2, upper=True), digits)


def targets(values: Sequence[float]) -> str:
    """One target, or the range of several."""
    low, high = share(min(values), 0), share(max(values), 0)
    return low if low == high else f"{low} to {high} (each class its own)"


def number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def decimals(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def plain(value: float) -> str:
    return f"{value:g}"


def day(value: str, month: str = "%B") -> str:
    """An ISO date or time as 3 March 2026."""
    moment = datetime.datetime.fromisoformat(value)
    return f"{moment.day} {moment:{month} %Y}"


def moment(value: str) -> str:
    """To the minute, with its zone."""
    return f"{day(value)}, {datetime.datetime.fromisoformat(value):%H:%M %Z}"


def words(name: str) -> str:
    """A key as words: data_fingerprint as data fingerprint."""
    return name.replace("_", " ")


def value(found: Any) -> str:
    """A value of a certificate."""
    if isinstance(found, float):
        return f"{found:.6g}"
    if isinstance(found, int):
        return number(found)
    if isinstance(found, list):
        return ", ".join(str(each) for each in found)
    return str(found)


def name_of(label: str, names: Mapping[str, str]) -> str:
    return names.get(label, label)


FILTERS: dict[str, Callable[..., str]] = {
    each.__name__: each
    for each in (share, lower_bound, upper_bound, targets, number, decimals, plain, day, moment, words, value, name_of)
}
