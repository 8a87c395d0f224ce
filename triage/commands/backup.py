"""`secondreader backup, restore`."""

from __future__ import annotations

from pathlib import Path

import click

from triage.commands.options import (
    config_option,
    counting,
    data_option,
    json_option,
    print_counts,
    settings_of,
    told_plainly,
)


@click.command()
@click.argument("target")
@click.option("--blobs", is_flag=True, help="The images too.")
@click.option("--models", is_flag=True, help="The bundles too, without which nothing can be explained.")
@config_option
@data_option
@json_option
def backup(target: str, blobs: bool, models: bool, config: Path | None, data: Path | None, as_json: bool) -> None:
    """Copies documents, keys, rules, journals and log to TARGET, an empty folder or a URL. Gateways may run meanwhile."""
    from triage.archive.backup import save
    from triage.store.places import open_objects

    settings = settings_of(config, data=data)
    with told_plainly(), counting("files", as_json) as step:
        counts = save(settings, open_objects(target), blobs, models, step)
        step.close()
    print_counts(counts, f"files in {target}", as_json)


@click.command()
@click.argument("source")
@config_option
@data_option
@json_option
def restore(source: str, config: Path | None, data: Path | None, as_json: bool) -> None:
    """Puts a backup back into an empty data folder and empty stores, comparing each file with its digest.

    Then `secondreader recover` makes the index, and gateways may start.
    """
    from triage.archive.backup import restore as put_back
    from triage.store.places import open_objects

    settings = settings_of(config, data=data)
    with told_plainly(), counting("files", as_json) as step:
        counts = put_back(open_objects(source), settings, step)
        step.close()
    print_counts(counts, f"files from {source}", as_json)
