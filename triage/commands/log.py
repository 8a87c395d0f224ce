"""`secondreader explain, log, recover`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from triage.commands.options import (
    config_option,
    damage_told,
    data_option,
    json_option,
    print_counts,
    settings_of,
    told_plainly,
)
from triage.errors import SettingsError, TriageError


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

    settings = settings_of(config, data=data)
    control = settings.data / "control"
    predictions, verdicts = find(settings.journal_folder, prediction_id)
    if not predictions:
        raise click.ClickException(
            f"{prediction_id} stands in no journal of {settings.journal_folder}; check id and --data"
        )
    try:
        key = audit_key(control) if (control / NAME).exists() else None
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
    from dataclasses import asdict

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
    import datetime
    from dataclasses import asdict

    from triage.archive.compact import compact as merge
    from triage.store.places import open_objects

    settings = settings_of(config, data=data, log=log)
    today = datetime.datetime.now(datetime.UTC).date()
    with told_plainly():
        done = merge(open_objects(settings.log_place), today - datetime.timedelta(days=days))
    print_counts(asdict(done), f"merged in {settings.log_place}", as_json)


@click.command()
@config_option
@data_option
@click.option("--redis-url")
@json_option
def recover(config: Path | None, data: Path | None, redis_url: str | None, as_json: bool) -> None:
    """Makes queue and views again from every journal, after Redis lost them. Harmless when nothing was lost."""
    from triage.archive.recover import recover as fold

    settings = settings_of(config, data=data, redis_url=redis_url)
    try:
        counts = asyncio.run(fold(settings))
    except TriageError as error:
        raise click.ClickException(str(error)) from None
    print_counts(counts, "recovered", as_json)


def _table(told: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None)
    for key, value in told.items():
        table.add_row(f"[bold]{key}[/bold]", value if isinstance(value, str) else json.dumps(value))
    return table
