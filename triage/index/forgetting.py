"""Takes everything about a prediction out of the index: what GET shows, what is asked of people, what they said, its place in
its case, and what could not be delivered of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from model_store.record import PredictionRecord
from triage.ids import reading_id
from triage.index.cases import RedisCases
from triage.index.reviews import RedisReviews
from triage.index.scripts import key

_MOST_READERS = 10
"""One more than a queue's document allows: the last of them may be an adjudicator's."""
_LATER = range(2, _MOST_READERS + 1)
_READINGS = (
    ("audit", range(1, 4)), ("recall", range(1, 3)), ("review", _LATER),
    *((f"{purpose} adjudicated", _LATER) for purpose in ("audit", "recall", "review")),
)  # fmt: skip
_OF_A_CASE = (("case", range(1, 65)),)
"""By the revision of the prediction: of an image whose case was opened again."""
_LETTERS_AT_ONCE = 1000
_SHORTLY_S = 60
"""How long a closed item is remembered, so that who holds its lease is told that it is over."""


class _Outcome(msgspec.Struct):
    prediction: str = ""


_outcomes = msgspec.json.Decoder(_Outcome)


async def forget(
    reviews: RedisReviews, queues: Collection[str], prediction: str, record: PredictionRecord | None = None
) -> None:
    """`record`: the prediction's, where there still is one; it names the case. Raises IndexAway. What is not there is no
    error."""
    case = record is not None and record.case is not None
    items = [prediction, *_others(prediction, (*_READINGS, *_OF_A_CASE) if case else _READINGS)]
    places = [(queue, item) for queue in queues for item in items]
    states = await reviews.run(*(("HGET", key(queue, f"item:{item}"), "s") for queue, item in places)) if places else []
    for (queue, item), state in zip(places, states, strict=True):
        if state not in (None, b"answering"):  # an answer on its way is in the journal when somebody looks again
            await reviews.finish(queue, item, "withdrawn", b"", b"", _SHORTLY_S)
            names = (f"{kind}:{item}" for kind in ("body", "retry", "verdict"))
            await reviews.run(
                ("DEL", *(key(queue, name) for name in names)),
                ("HDEL", key(queue, f"item:{item}"), "y"),
                ("EXPIRE", key(queue, f"item:{item}"), _SHORTLY_S),
            )
    if record is not None and record.case is not None:
        await RedisCases(reviews, 0).left(record.project, record.site, record.case, prediction)
    await reviews.run(("DEL", f"sr:view:{prediction}"), ("DEL", f"sr:truths:{prediction}"))


async def forget_letters(
    reviews: RedisReviews, project: str, webhooks: Collection[str], named: Callable[[str], bool]
) -> int:
    """Deletes what could not be delivered of predictions: dead letters have no age at which they go. How many. Raises
    IndexAway."""
    count = 0
    for name in webhooks:
        for kind in ("dead", "redo"):
            stream, after = f"sr:{{webhook:{project}/{name}}}:{kind}", "-"
            while after:
                (found,) = await reviews.run(("XRANGE", stream, after, "+", "COUNT", _LETTERS_AT_ONCE))
                letters = [entry for entry, fields in found if named(_prediction(fields))]
                if letters:
                    count += (await reviews.run(("XDEL", stream, *letters)))[0]
                after = f"({found[-1][0].decode()}" if len(found) == _LETTERS_AT_ONCE else ""
    return count


def _prediction(fields: list[Any]) -> str:
    return _outcomes.decode(fields[fields.index(b"outcome") + 1]).prediction


def _others(prediction: str, readings: tuple[tuple[str, range], ...]) -> list[str]:
    """The items of further readings; none of an id that is no UUID."""
    try:
        return [reading_id(prediction, purpose, number) for purpose, numbers in readings for number in numbers]
    except ValueError:
        return []
