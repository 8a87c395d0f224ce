"""`secondreader recall`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from triage.commands.options import (
    config_option,
    data_option,
    json_option,
    plain,
    settings_of,
    told_plainly,
)


@click.command()
@config_option
@data_option
@json_option
def recall(config: Path | None, data: Path | None, as_json: bool) -> None:
    """Answers in doubt: what every suspension recalled, and what became of it."""
    from triage.answers import when
    from triage.auditing.recall import listing

    settings = settings_of(config, data=data)
    if not settings.journal_folder.is_dir():
        raise click.ClickException(
            f"{settings.journal_folder} holds no journal; name the gateways' data folder with --data"
        )
    with told_plainly():
        found = listing(settings.journal_folder, settings.log_place)
    if as_json:
        click.echo(json.dumps(found))
        return
    console = Console()
    if not found:
        console.print("No answer was ever recalled.")
    for each in found:
        counts = Counter(prediction["became"] for prediction in each["predictions"])
        became = ", ".join(f"{count:,} {word}" for word, count in counts.most_common())
        console.print(f"[bold]{each['project']}/{each['site']}: {each['label']}[/bold], {when(each['at'])}: {became}")
        table = Table("prediction", "case", "received", "answered", "became")
        for prediction in each["predictions"]:
            table.add_row(
                prediction["prediction"], plain(prediction["case"] or ""), when(prediction["received_at"]),
                ", ".join(prediction["labels"]), prediction["became"],
            )  # fmt: skip
        console.print(table)
