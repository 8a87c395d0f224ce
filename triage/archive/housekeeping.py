"""What is due without being asked for: purges that are not done, what sites keep no longer, and merging past days."""

from __future__ import annotations

import asyncio
import datetime
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from model_store import files
from model_store.record import EventRecord, encode
from triage.archive import tombstones
from triage.archive.archiver import Archiver
from triage.archive.compact import compact
from triage.archive.purge import Purged, Purging, old_images_of
from triage.archive.tombstones import Tombstone
from triage.control.hold_document import HoldDocument
from triage.control.retention_document import RetentionDocument
from triage.errors import NotFound
from triage.ids import derived_id, now_us
from triage.index.reviews import RedisReviews
from triage.journal.frames import MAGIC, Summing, frame
from triage.ports import Documents
from triage.store.objects import Objects

_DAY_US = 86_400_000_000


def holds_of(documents: Documents, project: str) -> list[HoldDocument]:
    """The holds of a project as they stand. Raises pydantic's ValidationError for one that cannot be read, so that nothing is
    purged that it might hold."""
    names = sorted(documents.names(f"projects/{project}/holds/"))
    return [HoldDocument.model_validate_json(documents.read(name)[0]) for name in names]


def webhooks_of(documents: Documents, project: str) -> list[str]:
    """Names of the webhooks of a project."""
    names = sorted(documents.names(f"projects/{project}/webhooks/"))
    return [name.rpartition("/")[2].removesuffix(".json") for name in names]


def retentions(documents: Documents) -> dict[tuple[str, str], RetentionDocument]:
    """(project, site) -> how long it keeps what."""
    found = {}
    for name in sorted(documents.names("projects/")):
        match name.removesuffix(".json").split("/"):
            case ["projects", project, "retention", site]:
                found[project, site] = RetentionDocument.model_validate_json(documents.read(name)[0])
    return found


async def keep_house(log: Objects, purging: Purging, documents: Documents, now: int | None = None) -> dict[str, Any]:
    """One turn; what it did."""
    now, keeping = now or now_us(), retentions(documents)
    done: dict[str, Any] = {
        "records": 0, "images": 0, "aside": 0, "until": 0.0, "pending": 0, "unfinished": 0, "merged": 0
    }  # fmt: skip
    today = now // _DAY_US * _DAY_US
    aside = await asyncio.to_thread(purging.aside)  # before tombstones are read: of what waits now, each is there
    stand = {tombstone.id: tombstone for tombstone in tombstones.load(log)}
    old = {place for sentence, places in aside.items() for place in places if sentence == old_images_of(*place)}
    for project, site in sorted({*keeping, *old}):  # also a site that keeps everything since: then they are put back
        keeps = keeping.get((project, site), RetentionDocument())
        before = 0 if keeps.images_days is None else today - keeps.images_days * _DAY_US
        due = keeps.images_days is not None and _is_due(log, project, site, today, keeps.images_days)
        if due or (project, site) in old:
            _add(done, await purging.old_images(project, site, before))
        if due and keeps.images_days is not None:
            _did(log, project, site, today, keeps.images_days)
        if keeps.records_days is not None:
            record = retired(project, site, today - keeps.records_days * _DAY_US, now)
            if record.id not in stand or stand[record.id].before != record.before:
                tombstones.save(log, record)
    if _is_due(log, "all", "merged", today, 0):
        yesterday = datetime.datetime.fromtimestamp(today / 1e6, datetime.UTC).date() - datetime.timedelta(days=1)
        done["merged"] = compact(log, yesterday).merged
        _did(log, "all", "merged", today, 0)
    for tombstone in tombstones.load(log):
        if not tombstone.done or tombstone.id in aside:  # who was slow may have come after it was done
            told = await purging.carry_out(tombstone)
            _add(done, told)
            done["unfinished"] += not told.done
    for sentence in sorted(aside.keys() - stand.keys() - {old_images_of(*place) for place in old}):
        _add(done, await purging.forgotten(sentence))
    return done


def _add(done: dict[str, Any], told: Purged) -> None:
    done["records"] += told.records
    done["images"] += told.images
    done["aside"] += told.aside
    done["until"] = max(done["until"], told.until)
    done["pending"] += len(told.pending)


def retired(project: str, site: str, before: int, now: int) -> Tombstone:
    """A site's one tombstone for what is older than it keeps; each day's takes the place of the one before."""
    return Tombstone(
        id=derived_id("retention", project, site), project=project, site=site, before=before, by="retention", at=now
    )


def _is_due(log: Objects, project: str, site: str, today: int, days: int) -> bool:
    """Once a day, and whenever the document says otherwise than it did."""
    try:
        did = json.loads(log.get(f"housekeeping/{project}/{site}.json"))
    except NotFound:
        return True
    return bool(did != {"day": today, "images_days": days})


def _did(log: Objects, project: str, site: str, today: int, days: int) -> None:
    log.put(f"housekeeping/{project}/{site}.json", json.dumps({"day": today, "images_days": days}).encode())


def tell(log: Objects, tombstone: Tombstone, scratch: Path) -> None:
    """Journals that something was purged, and nothing of what: as a segment of a node of its own, straight into the log."""
    detail = {
        "predictions": str(len(tombstone.predictions)), "persons": str(len(tombstone.persons)),
        "held": str(len(tombstone.held)), "why": tombstone.why,
    }  # fmt: skip
    if tombstone.before is not None:
        detail["before"] = str(tombstone.before)
    event = EventRecord(
        id=derived_id("purged", tombstone.id), name="purged", project=tombstone.project, site=tombstone.site,
        subject=tombstone.id, actor=tombstone.by, detail=detail, at=tombstone.at,
    )  # fmt: skip
    content = MAGIC + frame(encode(event))
    total = Summing()
    total.add(content, 1)
    path = scratch / f"purge-{tombstone.id}" / "00000001.seg"
    files.replace(path, content + total.seal())
    Archiver(log, scratch).archive(path)


def opened(log: Objects, journal: Any, blobs: Objects, documents: Documents, reviews: RedisReviews | None) -> Purging:
    return Purging(
        log,
        journal,
        blobs,
        reviews,
        lambda project: holds_of(documents, project),
        time.time,
        partial(webhooks_of, documents),
    )
