"""`secondreader log purge, log person`."""

from __future__ import annotations

import asyncio
import datetime
import json
import math
import tempfile
import uuid
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from triage.commands.options import config_option, data_option, json_option, settings_of, told_plainly
from triage.settings import Settings


@click.command()
@click.option("--prediction", "predictions", multiple=True, metavar="ID", help="A prediction; may be given again.")
@click.option(
    "--person", metavar="NAME", help="Everything of whoever callers named so; only a keyed hash of it is kept."
)
@click.option(
    "--before", type=click.DateTime(["%Y-%m-%d"]), help="Everything from before this day (UTC); needs --site."
)
@click.option("--site", help="Only of this site.")
@click.option("--project", default="default", show_default=True)
@click.option("--keep-images", is_flag=True, help="Purge records and views only.")
@click.option("--why", default="", help="The reason, for the journal.")
@click.option("--by", envvar="USER", default="", help="Who decides so, for the journal.")
@click.option("--resume", is_flag=True, help="Only go on with purges and retention that are due, as gateways do.")
@click.option("--dry-run", is_flag=True, help="Only say what would be purged.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--redis-url")
@config_option
@data_option
@click.option("--log", help="Folder or URL of the log [TRIAGE_LOG, default in the store].")
@json_option
def purge(
    predictions: tuple[str, ...], person: str | None, before: datetime.datetime | None, site: str | None, project: str,
    keep_images: bool, why: str, by: str, resume: bool, dry_run: bool, yes: bool, as_json: bool, config: Path | None,
    data: Path | None, log: str | None, redis_url: str | None,
) -> None:  # fmt: skip
    """Removes what the log, the journals, the index and the image store hold of a prediction, a person or a site's past.

    What is held (`projects/P/holds`) stays. It cannot be undone; a backup made before still has it.
    """
    settings = settings_of(config, data=data, log=log, redis_url=redis_url)
    chosen = bool(predictions) + (person is not None) + (before is not None) + resume
    if chosen != 1:
        raise click.UsageError("say what: --prediction ID, --person NAME, --before DATE --site S, or --resume")
    if before is not None and site is None:
        raise click.UsageError("--before needs --site; name the site whose past is purged")
    from triage.archive.tombstones import Tombstone
    from triage.ids import now_us
    from triage.store.person_key import keyed_person, person_key

    with told_plainly():
        if resume:
            _print(asyncio.run(_resume(settings)), as_json)
            return
        tombstone = Tombstone(
            id=str(uuid.uuid4()), project=project, site=site, predictions=predictions,
            persons=(keyed_person(person_key(settings.control_place), project, person),) if person is not None else (),
            before=round(before.replace(tzinfo=datetime.UTC).timestamp() * 1e6) if before else None,
            images=not keep_images, by=by, why=why, at=now_us(),
        )  # fmt: skip
        if dry_run or not yes:
            wanted, held = asyncio.run(_found(settings, tombstone))
            if dry_run:
                _print({"would_purge": wanted, "held": held}, as_json)
                return
            click.confirm(f"purge {wanted:,} predictions ({held:,} are held and stay)? It cannot be undone", abort=True)
        _print(asyncio.run(_purge(settings, tombstone)), as_json)


@click.command()
@click.argument("name")
@click.option("--project", default="default", show_default=True)
@config_option
@data_option
def person(name: str, project: str, config: Path | None, data: Path | None) -> None:
    """The keyed hash under which records know whoever callers call NAME, for a hold's `persons`."""
    from triage.store.person_key import keyed_person, person_key

    settings = settings_of(config, data=data)
    with told_plainly():
        click.echo(keyed_person(person_key(settings.control_place), project, name))


def _opened(settings: Settings, reviews: Any) -> Any:
    from triage.archive.housekeeping import opened
    from triage.store.opening import open_documents
    from triage.store.places import open_objects

    log, blobs = open_objects(settings.log_place), open_objects(settings.blob_place)
    return opened(log, settings.journal_folder, blobs, open_documents(settings.control_place), reviews)


async def _found(settings: Settings, tombstone: Any) -> tuple[int, int]:
    wanted, held = await asyncio.to_thread(_opened(settings, None).find, tombstone)
    return len({each.id for each in wanted}), len({each.id for each in held})


async def _purge(settings: Settings, tombstone: Any) -> dict[str, Any]:
    from triage.archive.housekeeping import tell
    from triage.index.reviews import RedisReviews
    from triage.store.places import open_objects

    reviews = RedisReviews(settings.redis_url, settings.redis_timeout_s)
    try:
        purging = _opened(settings, reviews)
        said = await asyncio.to_thread(purging.bury, tombstone)
        with tempfile.TemporaryDirectory(prefix="secondreader-") as scratch:
            await asyncio.to_thread(tell, open_objects(settings.log_place), said, Path(scratch))
        done = await purging.carry_out(said)
    finally:
        await reviews.close()
    told = {
        "id": said.id, "records": done.records, "images": done.images, "aside": done.aside, "until": done.until,
        "held": done.held, "pending": done.pending,
    }  # fmt: skip
    return {name: value for name, value in told.items() if name != "pending" or value}


async def _resume(settings: Settings) -> dict[str, Any]:
    from triage.archive.housekeeping import keep_house
    from triage.index.reviews import RedisReviews
    from triage.store.opening import open_documents
    from triage.store.places import open_objects

    reviews = RedisReviews(settings.redis_url, settings.redis_timeout_s)
    try:
        log, documents = open_objects(settings.log_place), open_documents(settings.control_place)
        return await keep_house(log, _opened(settings, reviews), documents)
    finally:
        await reviews.close()


def _print(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(told))
        return
    console = Console()
    for name, value in told.items():
        if name == "pending" and value:
            which = ", ".join(value) if isinstance(value, list) else f"{value} segments"
            console.print(f"still being written, gateways come back to it: {which}", highlight=False)
        elif name not in ("pending", "aside", "until"):
            console.print(f"{name}: {value}", highlight=False)
    if told.get("aside"):
        click.echo(_aside(told["aside"], told["until"]))


def _aside(count: int, until: float) -> str:
    """What remains of the images, and what to do about it."""
    when = datetime.datetime.fromtimestamp(math.ceil(until / 60) * 60, datetime.UTC)
    are = "image is" if count == 1 else "images are"
    return (
        f"{count:,} {are} kept aside until {when:%H:%M} UTC in case somebody was promised them; a running gateway, or "
        "`secondreader log purge --resume` then, deletes them"
    )
