"""`secondreader doctor`."""

from __future__ import annotations

import asyncio
import json
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
)


@click.command()
@config_option
@data_option
@click.option("--redis-url")
@click.option("--torchserve-url")
@json_option
def doctor(
    config: Path | None, data: Path | None, redis_url: str | None, torchserve_url: str | None, as_json: bool
) -> None:
    """What is wrong here? Each finding comes with its mend."""
    from triage.doctor import examine

    findings = asyncio.run(examine(settings_of(config, data=data, redis_url=redis_url, torchserve_url=torchserve_url)))
    if as_json:
        click.echo(json.dumps([{"part": each.part, "ok": each.ok, "says": each.says} for each in findings]))
    else:
        table = Table("part", "", "")
        for each in findings:
            table.add_row(each.part, "[green]ok[/green]" if each.ok else "[red]wrong[/red]", plain(each.says))
        Console().print(table)
    raise SystemExit(0 if all(each.ok for each in findings) else 1)
