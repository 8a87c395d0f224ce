"""`secondreader predict`."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from triage.client import Client, ServiceError
from triage.commands.options import (
    json_option,
    key_option,
    progress,
    reached,
    url_option,
)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--project", default="default", show_default=True)
@click.option("--site", default="default", show_default=True)
@click.option("--clients", default=4, show_default=True, help="Images in flight at once.")
@url_option
@key_option
@json_option
def predict(
    files: tuple[Path, ...], project: str, site: str, clients: int, url: str, key: str | None, as_json: bool
) -> None:
    """Sends image FILES to a running service."""
    console = Console()

    def one(path: Path) -> dict[str, Any]:
        try:
            return {"file": str(path), **client.predict(path.read_bytes(), project=project, site=site)}
        except ServiceError as error:
            return {"file": str(path), "refused": str(error), "status": error.status}

    with (
        Client(url, key) as client,
        ThreadPoolExecutor(clients) as pool,
        progress(console, len(files), as_json) as step,
    ):
        results = []
        for result in reached(url, pool.map(one, files)):
            results.append(result)
            step()
    if as_json:
        for result in results:
            click.echo(json.dumps(result))
    else:
        table = Table("file", "route", "answer", "reasons")
        for result in results:
            answer = ", ".join(f"{label['name']} {label['probability']:.3f}" for label in result.get("labels", []))
            reasons = result.get("refused") or ", ".join(result["reasons"])
            table.add_row(result["file"], result.get("route", "refused"), answer, reasons)
        console.print(table)
    raise SystemExit(1 if any("refused" in result for result in results) else 0)
