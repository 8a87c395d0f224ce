"""Takes everything about a prediction out of the index: what GET shows, what is asked of people, what they said."""

from __future__ import annotations

from collections.abc import Collection

from triage.ids import reading_id
from triage.index.reviews import RedisReviews
from triage.index.scripts import key

_READINGS = (
    ("audit", (1, 2, 3)), ("recall", (1, 2)), ("review", (2, 3, 4, 5)),
    *((f"{purpose} adjudicated", (2, 3, 4, 5, 6)) for purpose in ("audit", "recall", "review")),
)  # fmt: skip
_SHORTLY_S = 60
"""How long a closed item is remembered, so that who holds its lease is told that it is over."""


async def forget(reviews: RedisReviews, queues: Collection[str], prediction: str) -> None:
    """Raises IndexAway. What is not there is no error."""
    items = [prediction, *_others(prediction)]
    places = [(queue, item) for queue in queues for item in items]
    states = await reviews.run(*(("HGET", key(queue, f"item:{item}"), "s") for queue, item in places)) if places else []
    for (queue, item), state in zip(places, states, strict=True):
        if state is not None:
            await reviews.finish(queue, item, "withdrawn", b"", b"", _SHORTLY_S)
            names = (f"{kind}:{item}" for kind in ("body", "retry", "verdict"))
            await reviews.run(
                ("DEL", *(key(queue, name) for name in names)),
                ("HDEL", key(queue, f"item:{item}"), "y"),
                ("EXPIRE", key(queue, f"item:{item}"), _SHORTLY_S),
            )
    await reviews.run(("DEL", f"sr:view:{prediction}"), ("DEL", f"sr:truths:{prediction}"))


def _others(prediction: str) -> list[str]:
    """The items of further readings; none of an id that is no UUID."""
    try:
        return [reading_id(prediction, purpose, number) for purpose, numbers in _READINGS for number in numbers]
    except ValueError:
        return []
