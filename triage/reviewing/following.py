"""The items that a verdict asks for: another reading, an adjudicator's, a second one because of a doubt. Pure.

Every reading of an image is an item of its own, and its id follows from the verdict: applying a record again asks nobody twice.
Nobody who has read an image is given it again.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from model_store.record import VerdictRecord
from triage.ids import reading_id
from triage.reviewing.item import Item
from triage.reviewing.verdicts import as_earlier, item_of


class Shown(msgspec.Struct, frozen=True):
    """What is shown beside an image, as `VerdictRecord.shows` keeps it."""

    reasons: tuple[str, ...] = ()
    suggestions: tuple[dict[str, str | float], ...] = ()


_shown = msgspec.json.Decoder(Shown)


def shows(item: Item) -> str:
    """What the next reader of an item is shown, too."""
    if item.blind:
        return ""
    return msgspec.json.encode(Shown(item.reasons, item.suggestions)).decode()


def following(verdict: VerdictRecord) -> list[tuple[str, Item]]:
    """Each with its queue."""
    found: list[tuple[str, Item]] = []
    if verdict.step == "again":
        found.append((verdict.queue, _again(verdict)))
    elif doubted(verdict):
        found.append((verdict.queue, _second(verdict)))
    if verdict.step == "escalate":
        found.append((verdict.escalate_to, _adjudication(verdict)))
    return found


def doubted(verdict: VerdictRecord) -> bool:
    """Whether a second reader is asked about a first one's doubts. What is recalled is in doubt already."""
    return bool(verdict.purpose != "recall" and verdict.reading == 1 and verdict.doubts and verdict.second_reader)


def _again(verdict: VerdictRecord) -> Item:
    """The next reading of several. It is evidence, too, where the first reader doubted what was drawn."""
    evidence = doubted(verdict)
    return replace(
        _next(verdict, reading_id(verdict.prediction, verdict.purpose, verdict.reading + 1)),
        drawn=verdict.drawn if evidence else (), doubts=verdict.doubts if evidence else (),
    )  # fmt: skip


def _second(verdict: VerdictRecord) -> Item:
    """A second reading that only watches over the model: it is not told what was said before, and decides nothing."""
    item = _next(verdict, reading_id(verdict.prediction, verdict.purpose, 2))
    return replace(item, blind=True, drawn=verdict.drawn, doubts=verdict.doubts, earlier=(), reasons=(), suggestions=())


def _adjudication(verdict: VerdictRecord) -> Item:
    item = _next(verdict, reading_id(verdict.prediction, f"{verdict.purpose} adjudicated", verdict.reading + 1))
    return replace(item, drawn=(), doubts=verdict.first_doubts or verdict.doubts, adjudicates=True)


def _next(verdict: VerdictRecord, name: str) -> Item:
    shown = _shown.decode(verdict.shows) if verdict.shows else Shown()
    return replace(
        item_of(verdict), id=name, reading=verdict.reading + 1, reasons=shown.reasons,
        suggestions=shown.suggestions, earlier=(*verdict.earlier, as_earlier(verdict)),
        not_by=(*(each.reviewer for each in verdict.earlier), verdict.reviewer),
    )  # fmt: skip
