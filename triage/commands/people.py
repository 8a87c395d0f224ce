"""`secondreader people`."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from triage.commands.options import json_option, key_option, plain, url_option


@click.command()
@click.option("--project", default="default", show_default=True)
@click.option("--days", default=30.0, show_default=True, help="Of so many last days.")
@url_option
@key_option
@json_option
def people(project: str, days: float, url: str, key: str | None, as_json: bool) -> None:
    """How people read: right on golds, agreeing with others, led by wrong suggestions, fast."""
    from triage.commands.at_service import Service

    with Service(url, key) as service:
        found = service.get(f"/v1/projects/{project}/people/figures", days=days)
    if as_json:
        click.echo(json.dumps(found))
        return
    console = Console()
    table = Table(
        "reviewer", "answered", "golds right", "of planted", "agrees", "accepts right", "accepts wrong", "seconds"
    )
    for each in found["people"]:
        golds = each["golds"]
        bounds = "" if golds["interval"] is None else " ({:.2f} to {:.2f})".format(*golds["interval"])
        seconds = each["median_seconds"]
        table.add_row(
            plain(each["reviewer"]), f"{each['answered']:,}", _share(golds) + bounds, _share(each["golds_planted"]),
            _share(each["agrees"]), _share(each["accepts_right"]), _share(each["accepts_wrong"]),
            "" if seconds is None else f"{seconds:.1f}",
        )  # fmt: skip
    console.print(table)
    for each in found["agreement"]:
        alpha = "says nothing" if each["alpha"] is None else f"{each['alpha']:.3f}"
        console.print(f"Krippendorff's alpha of {each['of']}, {each['images']:,} images: {alpha}")


def _share(share: dict[str, Any]) -> str:
    return f"{share['hits']:,} of {share['of']:,}" if share["of"] else ""
