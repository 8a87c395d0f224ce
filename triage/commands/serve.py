"""`secondreader serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from triage.commands.options import (
    config_option,
    data_option,
    settings_of,
)
from triage.errors import SettingsError


@click.command()
@config_option
@data_option
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on.")
@click.option("--classifier", type=click.Choice(["torchserve", "inprocess"]))
@click.option("--torchserve-url")
@click.option("--redis-url")
@click.option("--node", help="Name of this gateway's journal.")
def serve(config: Path | None, **arguments: Any) -> None:
    """The gateway alone, for a real Redis and classifier. Every setting: docs/settings.md."""
    from triage.server import run

    try:
        run(settings_of(config, **arguments))
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
