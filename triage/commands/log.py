"""`secondreader explain, log, recover`."""

from __future__ import annotations

import asyncio
import datetime
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from model_store.record import PredictionRecord
from triage.commands.options import (
    config_option,
    counting,
    damage_told,
    data_option,
    history_of,
    json_option,
    print_counts,
    settings_of,
    told_plainly,
)
from triage.commands.purge import person, purge
from triage.errors import SettingsError


@click.command()
@click.argument("prediction_id")
@config_option
@data_option
@json_option
def explain(prediction_id: str, config: Path | None, data: Path | None, as_json: bool) -> None:
    """Why was this image answered so? Decides again from the record and says what agrees."""
    from model_store.errors import ModelStoreError
    from triage.control.catalog import Catalog
    from triage.explain import explain as again
    from triage.explain import find, summary
    from triage.store.audit_key import NAME, audit_key
    from triage.store.shared_key import there

    settings = settings_of(config, data=data)
    control = settings.control_place
    with told_plainly():
        predictions, verdicts = find(history_of(settings), prediction_id)
    if not predictions:
        raise click.ClickException(
            f"{prediction_id} stands in no journal of {settings.journal_folder} and not in {settings.log_place}; "
            "check id and --data"
        )
    try:
        key = audit_key(control) if there(control, NAME) else None
        explained = [again(record, Catalog(settings.data), key) for record in predictions]
    except (ModelStoreError, SettingsError) as error:
        raise click.ClickException(str(error)) from None
    told = summary(explained, verdicts, Catalog(settings.data))
    if as_json:
        click.echo(json.dumps(told))
    else:
        Console().print(_table(told))
    raise SystemExit(0 if all(each.agrees for each in explained) else 1)


@click.group("log")
def deployment_log() -> None:
    """The deployment log: everything that happened, as Parquet."""


deployment_log.add_command(purge)
deployment_log.add_command(person)
log_option = click.option("--log", help="Folder or URL of the log [TRIAGE_LOG, default in the store].")


@deployment_log.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("log"), show_default=True)
@config_option
@data_option
@log_option
@json_option
def export(out: Path, config: Path | None, data: Path | None, log: str | None, as_json: bool) -> None:
    """Writes every record as Parquet, one folder a table and date. Twice changes nothing."""
    from triage.archive.export import export as write

    settings = settings_of(config, data=data, log=log)
    with told_plainly(), damage_told() as told:
        written = write(settings.journal_folder, out, settings.log_place, told)
        print_counts(written, f"rows in {out}", as_json)


@deployment_log.command()
@config_option
@data_option
@log_option
@json_option
def archive(config: Path | None, data: Path | None, log: str | None, as_json: bool) -> None:
    """Brings every closed journal segment to the log. Gateways do so by themselves; twice changes nothing."""
    from triage.archive.archiver import Archiver
    from triage.store.places import open_objects

    settings = settings_of(config, data=data, log=log)
    with told_plainly():
        done = Archiver(open_objects(settings.log_place), settings.journal_folder).turn()
    print_counts(asdict(done), f"archived in {settings.log_place}", as_json)
    raise SystemExit(1 if done.damaged else 0)


@deployment_log.command()
@click.option("--days", default=1, show_default=True, help="Leave the newest days alone.")
@config_option
@data_option
@log_option
@json_option
def compact(days: int, config: Path | None, data: Path | None, log: str | None, as_json: bool) -> None:
    """Merges the many small files of past days. Readers see every row once throughout."""
    from triage.archive.compact import compact as merge
    from triage.store.places import open_objects

    settings = settings_of(config, data=data, log=log)
    today = datetime.datetime.now(datetime.UTC).date()
    with told_plainly():
        done = merge(open_objects(settings.log_place), today - datetime.timedelta(days=days))
    print_counts(asdict(done), f"merged in {settings.log_place}", as_json)


@deployment_log.command()
@click.option("--rules", help="Digest, or its first digits, of rules in the data folder: what would they change?")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Only images from this day (UTC) on.")
@config_option
@data_option
@log_option
@json_option
def replay(
    rules: str | None, since: datetime.datetime | None, config: Path | None, data: Path | None, log: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Decides every image again. Under the rules of the time each must come out as it did: exit code 1 otherwise."""
    from model_store import rules as rule_files
    from triage.control.catalog import Catalog
    from triage.replay import replay as again
    from triage.replay import what_if
    from triage.store.audit_key import NAME, audit_key
    from triage.store.shared_key import there

    settings = settings_of(config, data=data, log=log)
    control = settings.control_place
    after = round(since.replace(tzinfo=datetime.UTC).timestamp() * 1e6) if since else 0
    with told_plainly(), damage_told() as told, counting("images", as_json) as step:
        records = history_of(settings, told).once(("predictions",), after, ("embedding",))
        kept = (each for each in records if isinstance(each, PredictionRecord) and each.received_at >= after)
        catalog = Catalog(settings.data)
        if rules is None:
            done: Any = again(kept, catalog, audit_key(control) if there(control, NAME) else None, step)
        else:
            done = what_if(kept, catalog, rule_files.find(settings.data, rules).digest, step)
        step.close()
        _show_replay(asdict(done), as_json)
    raise SystemExit(0 if rules is not None or done.agrees else 1)


def _show_replay(done: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(done))
        return
    console = Console()
    console.print(f"{done['decided']:,} decided again", highlight=False)
    for why, count in done["not_decided"].items():
        console.print(f"[red]{count:,} not decided:[/red] {why}", highlight=False)
    if "classes" not in done:
        console.print(f"{done['agree']:,} agree, {done['disagreeing']:,} disagree", highlight=False)
        for prediction, lines in done["disagree"].items():
            console.print(f"[red]{prediction}[/red]: {'; '.join(lines)}", highlight=False)
        return
    kinds = sorted({what for counts in done["classes"].values() for what in counts})
    table = Table("class", *kinds, title=f"{done['changed']:,} would change under {done['rules'][:19]}")
    for label, counts in sorted(done["classes"].items()):
        table.add_row(label, *(f"{counts.get(what, 0):,}" for what in kinds))
    console.print(table)


@deployment_log.command()
@config_option
@data_option
@log_option
@json_option
def stats(config: Path | None, data: Path | None, log: str | None, as_json: bool) -> None:
    """What the log holds: images, routes, reasons and verdicts of each site."""
    from triage.archive.stats import stats as count

    settings = settings_of(config, data=data, log=log)
    with told_plainly(), damage_told() as told:
        found = count(history_of(settings, told).once(without=("embedding", "probability")))
        if as_json:
            click.echo(json.dumps(found))
            return
        table = Table("site", "images", "routes", "reasons", "verdicts", "from", "to")
        for name, site in found["sites"].items():
            table.add_row(
                name, f"{site['predictions']:,}", _listed(site["routes"]), _listed(site["reasons"]),
                _listed(site["verdicts"]), site["first"], site["last"],
            )  # fmt: skip
        Console().print(table)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items(), key=lambda each: -each[1]))


@click.command()
@click.option(
    "--journal", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of journals whose machine is gone: they are read too, closed and archived.",
)  # fmt: skip
@config_option
@data_option
@log_option
@click.option("--redis-url")
@json_option
def recover(
    journal: Path | None, config: Path | None, data: Path | None, log: str | None, redis_url: str | None, as_json: bool
) -> None:
    """Makes queue and views again from every journal and the log, after Redis lost them. Harmless when nothing was lost."""
    from triage.recovery.recover import archive_left
    from triage.recovery.recover import recover as fold

    settings = settings_of(config, data=data, log=log, redis_url=redis_url)
    with told_plainly(), damage_told() as told, counting("records", as_json) as step:
        archived = archive_left(settings, journal) if journal else 0
        counts = asyncio.run(fold(settings, journal, told, step))
        step.close()
        print_counts({**counts, **({"archived": archived} if journal else {})}, "recovered", as_json)


def _table(told: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None)
    for key, value in told.items():
        table.add_row(f"[bold]{key}[/bold]", value if isinstance(value, str) else json.dumps(value))
    return table
