"""Purges: the tombstone first, then what it names, everywhere that is seen from here. Whoever dies in between is made up for.

A tombstone hides from every reader at once what it names. Carrying it out takes the rows out of the archive's files, overwrites
the records in closed segments, deletes views and queue items, and moves images that nothing else needs out of their names until
nobody can have been promised them (condemned.py). A segment that is being written is waited for; gateways come back to every
purge until a look some time later finds nothing more. Holds win, also those that are declared while a purge is under way.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from model_store.record import TABLES, PredictionRecord, Record
from triage.archive import tombstones
from triage.archive.archiver import Archiver
from triage.archive.condemned import SETTLED_S, Condemned, Settled, waiting
from triage.archive.history import History
from triage.archive.layout import Segment, file_of, marker
from triage.archive.rewriting import rewrite
from triage.archive.seen import Seen
from triage.archive.tombstones import Hidden, Tombstone, prediction_of
from triage.control.hold_document import HoldDocument
from triage.ids import derived_id
from triage.index.forgetting import forget, forget_letters
from triage.index.reviews import RedisReviews
from triage.journal.erasing import erase
from triage.journal.reading import closed, nodes, segments
from triage.store.objects import Objects

Holds = Callable[[str], list[HoldDocument]]
"""Project -> its holds, as they stand now."""


@dataclass
class Purged:
    """What one turn did."""

    records: int = 0
    images: int = 0
    """That were taken out of their names."""
    aside: int = 0
    """Images that wait until nobody can have been promised them."""
    until: float = 0.0
    """Seconds since the epoch: when the last one of them may be deleted for good."""
    held: int = 0
    pending: list[str] = field(default_factory=list)
    """Segments that are being written; a later turn looks into them."""
    done: bool = False


class Purging:
    """Of one log, the journals that are seen from here, and the images. `reviews`: None where nobody serves; `webhooks`:
    project -> their names."""

    def __init__(
        self, log: Objects, journal_folder: Path, blobs: Objects, reviews: RedisReviews | None, holds: Holds,
        clock: Callable[[], float] = time.time, webhooks: Callable[[str], list[str]] = lambda project: [],
    ) -> None:  # fmt: skip
        self._log = log
        self._folder = journal_folder
        self._blobs = blobs
        self._reviews = reviews
        self._holds = holds
        self._clock = clock
        self._webhooks = webhooks

    def find(self, tombstone: Tombstone) -> tuple[list[PredictionRecord], list[PredictionRecord]]:
        """What a tombstone would purge, and what of it is held; first revisions, without vectors."""
        wanted, held = list[PredictionRecord](), list[PredictionRecord]()
        for record in self._predictions(tombstone):
            (held if self._is_held(record) else wanted).append(record)
        return wanted, held

    def bury(self, tombstone: Tombstone) -> Tombstone:
        """Says what is purged, by the ids of what was found; from here on no reader sees it. The tombstone as it stands."""
        wanted, held = self.find(tombstone)
        named = tombstone.predictions if tombstone.before is not None else tuple(sorted({each.id for each in wanted}))
        told = tombstone.model_copy(update={"predictions": named, "held": tuple(sorted({each.id for each in held}))})
        tombstones.save(self._log, told)
        return told

    async def carry_out(self, tombstone: Tombstone) -> Purged:
        """Deletes what a tombstone names. Raises Unavailable, IndexAway, OSError; once more does what is left.

        The order is what makes it safe to die anywhere: predictions, by which everything else is found, go last.
        """
        done = Purged()
        await asyncio.to_thread(Archiver(self._log, self._folder).turn)
        with Seen() as ids, Seen() as images, Seen() as held:
            for record in self._predictions(tombstone):
                if self._is_held(record):
                    done.held += held.add(record.id)
                elif ids.add(record.id):
                    images.add(_image(record))
            for prediction in tombstone.predictions:
                if prediction not in held:
                    ids.add(prediction)
            await self._forget(tombstone, ids)
            if tombstone.images:
                await asyncio.to_thread(self._condemn, tombstone.id, tombstone, ids, images, done)
            for table in (*(each for each in TABLES if each != "predictions"), "predictions"):
                done.records += await asyncio.to_thread(self._take_out, table, tombstone.project, ids, done)
        clean = not (done.records or done.images or done.aside or done.pending)
        done.done = clean and self._clock() - tombstone.at / 1e6 > SETTLED_S
        if done.done:
            tombstones.save(self._log, tombstone.model_copy(update={"done": True}))
        return done

    async def old_images(self, project: str, site: str, before: int) -> Purged:
        """Takes away the images of a site that came before a moment (microseconds; 0: none), are not held, and that nothing
        younger needs; the records stay. Once more does what is left, and puts back what is held or kept for longer since."""
        named = Tombstone(id=old_images_of(project, site), project=project, site=site, before=before, at=before)
        done = Purged()
        with Seen() as ids, Seen() as images:
            for record in self._predictions(named):
                if not self._is_held(record) and ids.add(record.id):
                    images.add(_image(record))
            await asyncio.to_thread(self._condemn, named.id, named, ids, images, done)
        return done

    async def forgotten(self, sentence: str) -> Purged:
        """Sees to images that wait by a purge of which this log knows nothing, since it was restored."""
        done = Purged()
        with Seen() as ids, Seen() as images:
            await asyncio.to_thread(self._condemn, sentence, None, ids, images, done)
        return done

    def aside(self) -> dict[str, set[tuple[str, str]]]:
        """Sentence -> (project, site) of the images that wait by it."""
        found: dict[str, set[tuple[str, str]]] = {}
        for each in waiting(self._blobs):
            project, site, _ = each.image.split("/")
            found.setdefault(each.sentence, set()).add((project, site))
        return found

    async def _forget(self, tombstone: Tombstone, ids: Seen) -> None:
        if self._reviews is None:
            return
        queues = await self._reviews.queues()
        for prediction in {*tombstone.predictions}:
            if prediction in ids:
                await forget(self._reviews, queues, prediction)
        for record in self._predictions(tombstone):
            if record.id in ids:
                await forget(self._reviews, queues, record.id, record)
        webhooks = await asyncio.to_thread(self._webhooks, tombstone.project)
        await forget_letters(self._reviews, tombstone.project, webhooks, ids.__contains__)

    def _take_out(self, table: str, project: str, ids: Seen, done: Purged) -> int:
        """Takes rows of one table out of the archive and of the closed segments here; how many."""
        kind, count = TABLES[table], 0

        def named(record: Record) -> bool:
            return isinstance(record, kind) and record.project == project and prediction_of(record) in ids

        for entry in list(self._log.list(table)):
            if file_of(entry.name) is not None:
                count += len(rewrite(self._log, entry.name, named))
        for folder in nodes(self._folder):
            for path in segments(folder):
                if not closed(path):
                    if (name := f"{folder.name}/{path.name}") not in done.pending:
                        done.pending.append(name)
                else:
                    count += erase(path, named, partial(self._announce, path))
        return count

    def _announce(self, path: Path, before: str, after: str) -> None:
        """The marker says which segment it is of: from now on of the one with less in it, and still of the one before."""
        name = marker(Segment(path.parent.name, int(path.stem)))
        told = json.loads(self._log.get(name))
        self._log.put(name, json.dumps({**told, "sha256": after, "erasing": [before]}, indent=1).encode())

    def _condemn(self, sentence: str, named: Tombstone | None, ids: Seen, images: Seen, done: Purged) -> None:
        """Takes the images of the named predictions that no other record needs out of their names, and decides about those that
        wait already."""
        condemned = Condemned(self._blobs, sentence, self._clock)
        looked_at = self._clock()
        for each in condemned:
            images.add(each.image)
        for record in self._all():
            if record.id not in ids:
                images.discard(_image(record))
        told: Settled = condemned.settle(lambda image: image not in images, looked_at)
        for record in self._predictions(named) if named else ():
            name = _image(record)
            if name in images:
                images.discard(name)
                done.images += condemned.condemn(name, told)
        done.aside, done.until = told.aside, told.until

    def _all(self) -> Iterator[PredictionRecord]:
        history = History(self._log, self._folder)
        history.hidden = Hidden()
        for record in history.records(None, ("predictions",), without=("embedding", "probability")):
            assert isinstance(record, PredictionRecord)
            yield record

    def _predictions(self, tombstone: Tombstone) -> Iterator[PredictionRecord]:
        """What a tombstone names, held or not, that is still there."""
        named = Hidden([tombstone.model_copy(update={"held": ()})])
        return (record for record in self._all() if named(record))

    def _is_held(self, record: PredictionRecord) -> bool:
        return any(hold.holds(record) for hold in self._holds(record.project))


def _image(record: PredictionRecord) -> str:
    return f"{record.project}/{record.site}/{record.sha256}"


def old_images_of(project: str, site: str) -> str:
    """The sentence by which a site's old images wait."""
    return derived_id("old images", project, site)
