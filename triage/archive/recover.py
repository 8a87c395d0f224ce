"""Makes the index again from every journal in the journal folder."""

from __future__ import annotations

from collections.abc import Iterator

from model_store.record import PredictionRecord, Record
from triage.control.catalog import Catalog
from triage.errors import NotFound
from triage.index.fold import Index
from triage.index.reviews import RedisReviews
from triage.journal.segments import nodes, read
from triage.settings import Settings


async def recover(settings: Settings) -> dict[str, int]:
    """Records read, items waiting and leased afterwards. Raises IndexAway. Safe beside running gateways."""
    folders = nodes(settings.journal_folder)
    if not folders:
        raise NotFound(f"{settings.journal_folder} holds no journal; name the gateways' data folder with --data")
    reviews = RedisReviews(settings.redis_url, settings.redis_timeout_s)
    index = Index(reviews, Catalog(settings.data), settings.suggestions, settings.retention_s)

    def records() -> Iterator[Record]:
        for folder in folders:
            for _, record in read(folder):
                yield record

    try:
        total = await index.replay(records)
        queues = {record.queue for record in records() if isinstance(record, PredictionRecord) and record.queue}
        stats = [await reviews.stats(queue) for queue in sorted(queues)]
    finally:
        await reviews.close()
    return {
        "journals": len(folders), "records": total,
        "waiting": sum(each.waiting for each in stats), "leased": sum(each.leased for each in stats),
    }  # fmt: skip
