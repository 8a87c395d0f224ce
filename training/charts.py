"""A few charts as SVG: numbers in, markup out. Pure.

Colours are classes of the page's style sheet, so that they follow light and dark. Every chart has a title and a description
for those who do not see it; what is in it stands in a table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

Pairs = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Plot:
    """A frame with two linear axes; data in, pixels out."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: int = 480
    height: int = 310
    left: int = 48
    right: int = 16
    top: int = 32
    bottom: int = 46

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            round(self.left + across * (self.width - self.left - self.right), 1),
            round(self.height - self.bottom - up * (self.height - self.top - self.bottom), 1),
        )


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most so many round numbers from low to high, a step of 1, 2 or 5 times a power of ten apart."""
    if not high > low:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / most))
    step = next(step * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (step * factor) < most)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def percent(value: float) -> str:
    """0.25 as 25%, and as many digits as a tick needs."""
    return f"{100 * value:.4g}%"


def element(name: str, css: str, content: str = "", **attributes: float | str) -> Markup:
    """One SVG element; an underscore in an attribute's name stands for a hyphen. Content is text and is escaped."""
    listed = [Markup('{}="{}"').format(key.replace("_", "-"), value) for key, value in attributes.items()]
    return Markup('<{0} class="{1}" {2}>{3}</{0}>').format(name, css, Markup(" ").join(listed), content)


def text(x: float, y: float, content: str, css: str = "tick", anchor: str = "middle") -> Markup:
    return element("text", css, content, x=x, y=y, text_anchor=anchor)


def line(plot: Plot, points: Pairs, css: str) -> Markup:
    pixels = " ".join("{},{}".format(*plot.at(x, y)) for x, y in points)
    return element("polyline", css, points=pixels)


def straight(plot: Plot, start: tuple[float, float], end: tuple[float, float], css: str) -> Markup:
    (x1, y1), (x2, y2) = plot.at(*start), plot.at(*end)
    return element("line", css, x1=x1, y1=y1, x2=x2, y2=y2)


def box(plot: Plot, start: tuple[float, float], end: tuple[float, float], css: str) -> Markup:
    (x1, y1), (x2, y2) = plot.at(*start), plot.at(*end)
    return element(
        "rect", css, x=min(x1, x2), y=min(y1, y2), width=round(abs(x2 - x1), 1), height=round(abs(y2 - y1), 1)
    )


def dot(plot: Plot, x: float, y: float, css: str, radius: float = 5) -> Markup:
    cx, cy = plot.at(x, y)
    return element("circle", css, cx=cx, cy=cy, r=radius)


def axes(plot: Plot, across: str, up: str) -> Markup:
    """Grid lines, ticks in percent and what the axes are; an axis without a name has no ticks."""
    parts = []
    (left, bottom), (right, top) = plot.at(plot.x[0], plot.y[0]), plot.at(plot.x[1], plot.y[1])
    for y in ticks(*plot.y) if up else ():
        height = plot.at(plot.x[0], y)[1]
        parts.append(element("line", "grid", x1=left, y1=height, x2=right, y2=height))
        parts.append(text(left - 8, height + 4, percent(y), anchor="end"))
    for x in ticks(*plot.x):
        along = plot.at(x, plot.y[0])[0]
        if not up:
            parts.append(element("line", "grid", x1=along, y1=top, x2=along, y2=bottom))
        parts.append(text(along, bottom + 18, percent(x)))
    parts.append(element("line", "axis", x1=left, y1=bottom, x2=right, y2=bottom))
    parts.append(text((left + right) / 2, plot.height - 6, across, "axis-name"))
    if up:
        parts.append(text(left - 40, top - 16, up, "axis-name", "start"))
    return Markup("").join(parts)


def figure(plot: Plot, name: str, title: str, description: str, parts: Sequence[Markup]) -> Markup:
    """The whole chart. `name` is unique on the page."""
    return Markup(
        '<svg class="chart" viewBox="0 0 {0} {1}" role="img" aria-labelledby="{2}-title {2}-text">'
        '<title id="{2}-title">{3}</title><desc id="{2}-text">{4}</desc>{5}</svg>'
    ).format(plot.width, plot.height, name, title, description, Markup("").join(parts))
