"""The model's own answers as a stream beside the outcomes, for listeners of sites that ask for it.

    sr:{<project>.review}:automatic    stream, the newest `KEPT`

A stream of its own, so that what people decide, which is kept for long, is not lost among what the caller has heard already.
"""

from __future__ import annotations

from model_store.record import PredictionRecord
from triage import answers
from triage.index.reviews import RedisReviews
from triage.index.scripts import key
from triage.reviewing.item import queue_of

KEPT = 100_000


async def tell_automatic(reviews: RedisReviews, record: PredictionRecord) -> None:
    """Publishes an automatic answer; again when the journal is replayed. Raises IndexAway."""
    body = answers.outcome("final", record, answers.model_final(record))
    queue = queue_of(record.project)
    await reviews.run(
        ("XADD", key(queue, "automatic"), "MAXLEN", "~", KEPT, "*", "outcome", body), ("SADD", "sr:queues", queue)
    )
