"""The report's charts, each from its part of the account. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from model_store.binomial import printed
from training.charts import Plot, axes, box, dot, figure, line, percent, straight, text, ticks


def risk_coverage(curve: Mapping[str, Any]) -> Markup:
    """Error against share answered: ours, an oracle's, what is promised, and where the rules stand."""
    promised, point = curve["promised_error"], curve["point"]
    most = max([error for _, error in curve["ours"][-1:]] + [point[1] if point else 0, 1.6 * (promised or 0), 0.02])
    plot = Plot((0, 1), (0, 1.1 * most))
    shown = [pair for pair in curve["ours"] if pair[1] <= plot.y[1]]
    parts = [axes(plot, "images answered by the model", "wrong answers")]
    if promised is not None:
        parts += [straight(plot, (0, promised), (1, promised), "promised")]
        x, y = plot.at(0.012, promised)
        parts += [text(x, y - 6, f"promised: at most {percent(promised)} wrong", "note wrong-ink", "start")]
    parts += [line(plot, curve["oracle"], "oracle"), line(plot, shown, "ours")]
    parts += _labels(plot, curve)
    if point:
        parts += [dot(plot, point[0], point[1], "rules-dot", 6.5)]
        x, y = plot.at(*point)
        parts += [text(x - 11, y - 9, "these rules", "note strong", "end")]
    said = (
        f"{percent(round(point[0], 3))} answered with {percent(round(point[1], 4))} wrong" if point else "no rules yet"
    )
    return figure(
        plot, "risk", "Wrong answers against images answered", f"Curves of this model and of an oracle; {said}.", parts
    )


def _labels(plot: Plot, curve: Mapping[str, Any]) -> list[Markup]:
    """The two lines' names: ours at its end, the oracle's where its errors begin."""
    if not curve["ours"] or not curve["ours"][-1][1]:
        return []  # no error anywhere: the lines are one
    x, y = plot.at(*curve["ours"][-1])
    begins = max((coverage for coverage, error in curve["oracle"] if not error), default=0.0)
    foot, floor = plot.at(begins, 0)
    return [
        text(x - 14, y + 4, "this model", "note ours-ink", "end"),
        text(foot - 4, floor - 9, "oracle", "note oracle-ink", "end"),
    ]


def reliability(found: Mapping[str, Any]) -> Markup:
    """One row a bin of scores: what the scores say (ring) and what was right (dot, with its interval)."""
    bins = found["bins"]
    low = min([each["lower"] for each in bins] + [each["predicted"] for each in bins])
    start = max(0.0, [tick for tick in ticks(0, 1, 21) if tick <= low][-1])
    plot = Plot((start, 1), (len(bins), 0), height=60 + 38 * len(bins), left=148, top=8)
    parts = [axes(plot, "answers that are right", "")]
    for row, each in enumerate(bins):
        y = row + 0.5
        across, height = plot.at(start, y)
        name = f"{each['low']:.3f} to {each['high']:.3f}"
        parts += [text(across - 12, height - 1, name, "row-name", "end")]
        parts += [text(across - 12, height + 15, f"{each['answers']:,} answers", "tick", "end")]
        parts += [straight(plot, (each["lower"], y), (each["upper"], y), "interval")]
        parts += [dot(plot, each["right"], y, "right-dot", 4.5), dot(plot, each["predicted"], y, "says-ring", 6.5)]
    return figure(
        plot,
        "reliability",
        "What scores say and what was right",
        f"{len(bins)} bins of answers by score; the dot is the share that was right with its 95% bounds, the ring what the "
        "scores say.",
        parts,
    )


def typicality(found: Mapping[str, Any]) -> Markup:
    """Two histograms, one above the other: images of labels with a head, and of labels without."""
    kinds = [("normal", "of learned labels", "bar-normal"), ("strangers", "of labels it never learned", "bar-strange")]
    kinds = [kind for kind in kinds if found[kind[0]]["images"]]
    parts, height = [], 120
    whole = Plot((0, 1), (0, 1), height=60 + height * len(kinds), left=16, top=14)
    for row, (key, words, css) in enumerate(kinds):
        counts, images = found[key]["counts"], found[key]["images"]
        top = max(counts)
        bottom = whole.height - (14 + height * (row + 1))
        plot = Plot((0, 1), (0, top), height=whole.height, left=16, top=14 + height * row + 34, bottom=bottom)
        for index, count in enumerate(counts):
            width = 1 / len(counts)
            inside = ((index + 0.06) * width, (index + 0.94) * width)
            parts.append(box(plot, (inside[0], 0), (inside[1], count), css))
        across, up = plot.at(1, top)
        parts.append(text(across, up - 12, f"{images:,} test images {words}", "row-name", "end"))
        parts.append(straight(plot, (0, 0), (1, 0), "axis"))
    if found["floor"] > 0:
        parts.append(box(whole, (0, 0), (found["floor"], 1), "below"))
        parts.append(straight(whole, (found["floor"], 0), (found["floor"], 1), "promised"))
    for x in ticks(0, 1):
        along, floor = whole.at(x, 0)
        parts.append(text(along, floor + 18, percent(x)))
    parts.append(
        text(whole.width / 2, whole.height - 6, "typicality: normal images that are less typical", "axis-name")
    )
    said = "; ".join(
        f"{found[key]['below']:,} of {found[key]['images']:,} {words} are below" for key, words, _ in kinds
    )
    return figure(
        whole, "typicality", "Typicality of test images", f"The gate is at {percent(found['floor'])}: {said}.", parts
    )


def proof(certificate: Mapping[str, Any], name: str) -> Markup:
    """A certificate as a bar: from the proven bound to 1, the share seen, and a tick where the target is."""
    low = min(0.9, max(0.0, certificate["target"] - 0.05))
    plot = Plot((low, 1), (0, 1), width=120, height=22, left=3, right=3, top=0, bottom=0)
    seen = 1 - certificate["errors"] / certificate["firings"]
    parts = [
        box(plot, (low, 0.36), (1, 0.64), "proof-track"),
        box(plot, (certificate["bound"], 0.24), (1, 0.76), "proof-bar"),
        straight(plot, (certificate["target"], 0), (certificate["target"], 1), "proof-target"),
        dot(plot, seen, 0.5, "proof-dot", 3.6),
    ]
    said = f"target {percent(certificate['target'])}, proven {printed(certificate['bound'], 4):.4f}, seen {seen:.4f}"
    return figure(plot, name, "Proven precision", said, parts)
