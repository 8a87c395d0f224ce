"""Truths beside their predictions, in Redis: `sr:truths:<prediction>`, a hash of truth id -> record."""

from __future__ import annotations

import msgspec

from model_store.record import TruthRecord
from triage.index.reviews import RedisReviews

_records = msgspec.msgpack.Decoder(TruthRecord)


async def put_truth(reviews: RedisReviews, truth: TruthRecord, retention_s: int) -> None:
    """Beside its prediction; the first of an id stays. Raises IndexAway."""
    name = _name(truth.prediction)
    await reviews.run(("HSETNX", name, truth.id, msgspec.msgpack.encode(truth)), ("EXPIRE", name, retention_s))


async def truths(reviews: RedisReviews, prediction: str) -> list[TruthRecord]:
    """Of one prediction, oldest first. Raises IndexAway."""
    found = (await reviews.run(("HVALS", _name(prediction))))[0]
    return sorted((_records.decode(each) for each in found), key=lambda truth: (truth.at, truth.id))


def _name(prediction: str) -> str:
    return f"sr:truths:{prediction}"
