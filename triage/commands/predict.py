"""`secondreader predict`."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import httpx
from rich.console import Console
from rich.table import Table

from triage.client import Client, ServiceError
from triage.commands.options import (
    json_option,
    key_option,
    plain,
    progress,
    url_option,
)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--project", help="Where the images are of [the key's own, else default].")
@click.option("--site")
@click.option("--case", help="What the images belong to together.")
@click.option("--view", help="What they show of it.")
@click.option("--meta", "metadata", multiple=True, metavar="NAME=VALUE", help="Other metadata; may be repeated.")
@click.option("--clients", default=4, show_default=True, type=click.IntRange(1, 256), help="Images in flight at once.")
@url_option
@key_option
@json_option
def predict(
    files: tuple[Path, ...], metadata: tuple[str, ...], clients: int, url: str, key: str | None, as_json: bool,
    **named: str | None,
) -> None:  # fmt: skip
    """Sends image FILES to a running service. What could not be sent is listed, and the command then ends with 1."""
    console = Console()
    about: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    about |= about_of(metadata)
    away = threading.Event()

    def one(path: Path) -> dict[str, Any]:
        if away.is_set():
            return {"file": str(path), "not_sent": "the service was away by then"}
        try:
            return {"file": str(path), **client.predict(path.read_bytes(), **about)}
        except ServiceError as error:
            failed = "not_sent" if error.status in (429, 503) else "refused"
            return {"file": str(path), failed: str(error), "status": error.status}
        except httpx.TransportError as error:
            away.set()
            return {"file": str(path), "not_sent": str(error)}
        except OSError as error:
            return {"file": str(path), "not_sent": f"it cannot be read ({error.strerror}); see who owns it"}

    with (
        Client(url, key, connections=clients) as client,
        ThreadPoolExecutor(clients) as pool,
        progress(console, len(files), as_json) as step,
    ):
        results = []
        for result in pool.map(one, files):
            results.append(result)
            step()
    if as_json:
        for result in results:
            click.echo(json.dumps(result))
    else:
        console.print(_table(results))
    missing = [result for result in results if "not_sent" in result]
    if missing:
        names = ", ".join(result["file"] for result in missing[:20]) + (" and more" if len(missing) > 20 else "")
        raise click.ClickException(f"{missing[0]['not_sent']}; {len(missing)} not sent: {names}")
    raise SystemExit(1 if any("refused" in result for result in results) else 0)


def about_of(metadata: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE` as a dict. Raises click.UsageError."""
    pairs = [each.partition("=") for each in metadata]
    for each, (name, equals, _) in zip(metadata, pairs, strict=True):
        if not (name and equals):
            raise click.UsageError(f"--meta {each}: it is no NAME=VALUE, like scanner=x1")
        if name in ("image", "key", "wait_s", "backfill"):
            raise click.UsageError(f"--meta {each}: the name means something else; choose another")
    return {name: value for name, _, value in pairs}


def _table(results: list[dict[str, Any]]) -> Table:
    table = Table("file", "route", "answer", "reasons")
    for result in results:
        answer = ", ".join(f"{label['name']} {label['probability']:.3f}" for label in result.get("labels", []))
        route = result.get("route", "refused" if "refused" in result else "not sent")
        why = result.get("refused") or result.get("not_sent") or ", ".join(result["reasons"])
        table.add_row(plain(result["file"]), route, plain(answer), plain(why))
    return table
