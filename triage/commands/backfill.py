"""`secondreader backfill`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from triage.client import Client
from triage.commands.options import json_option, key_option, progress, reaching, url_option
from triage.commands.predict import about_of


@click.command()
@click.argument("source")
@click.option("--project", default="default", show_default=True)
@click.option("--site", default="default", show_default=True)
@click.option("--view", help="What the images show.")
@click.option("--meta", "metadata", multiple=True, metavar="NAME=VALUE", help="Other metadata; may be repeated.")
@click.option("--case-by-folder", is_flag=True, help="Images of one folder are one case.")
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False), help="What is done [backfill-....db here].")
@click.option("--rate", default=10.0, show_default=True, type=click.FloatRange(0.01, 10_000), help="Images a second.")
@click.option("--clients", default=2, show_default=True, type=click.IntRange(1, 64), help="Images in flight at once.")
@click.option("--cap", default=200, show_default=True, type=click.IntRange(1), help="Images a day that go to people.")
@click.option("--wait", is_flag=True, help="At the cap, wait for tomorrow; else end, to be run again.")
@click.option("--share", type=click.FloatRange(0, 1), help="Expected share that goes to people [the site's so far].")
@click.option("--seconds", default=15.0, show_default=True, type=click.FloatRange(0), help="A review takes.")
@click.option("--wage", default=0.0, type=click.FloatRange(0), help="Money for an hour of reading.")
@click.option("--yes", is_flag=True, help="Go on after the estimate.")
@url_option
@key_option
@json_option
def backfill(
    source: str, project: str, site: str, view: str | None, metadata: tuple[str, ...], case_by_folder: bool,
    state: Path | None, rate: float, clients: int, cap: int, wait: bool, share: float | None, seconds: float,
    wage: float, yes: bool, url: str, key: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Sends the images of SOURCE, a folder or a bucket (s3://bucket/folder), to a running service, in the service's own time.

    It says first what it will cost. Stopped at any moment, it goes on where it was when it is run again.
    """
    from triage.backfill.sending import Backfill, Terms
    from triage.backfill.sources import SourceAway, open_source
    from triage.backfill.state import OtherState, State

    console = Console(stderr=as_json)
    about = about_of(metadata) | ({"view": view} if view else {})
    name = hashlib.sha256(json.dumps([source, project, site]).encode()).hexdigest()[:8]
    path = state or Path(f"backfill-{name}.db")
    try:
        opened = open_source(source)
        done = State(path, opened.place, project, site)
        images = [image for image in opened.images() if not done.has(image)]
        with reaching(), Client(url, key, connections=clients + 1) as client:
            foretold = _foretold(client, project, site, len(images), share, seconds, wage, cap)
            told = foretold.told() | {"already": sum(done.counts().values())}
            if as_json:
                click.echo(json.dumps({"estimate": told}))
            else:
                console.print(_estimate(told, bool(wage)))
            if images and not (yes or (console.is_terminal and click.confirm("Send them?", err=as_json))):
                raise click.UsageError("nothing is sent without your word; add --yes")
            terms = Terms(project, site, about, case_by_folder, rate, clients, cap, wait)
            said: list[str] = []

            def say(what: str) -> None:
                if said[-1:] != [what]:
                    said.append(what)
                    console.print(what)

            with progress(console, len(images), as_json) as step:
                ended = Backfill(client, opened, done, terms).run(iter(images), step, say)
    except (SourceAway, OtherState) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        raise click.ClickException(f"stopped; run it again to go on ({path} knows how far)") from None
    counts, refused = done.counts(), done.refused()
    if as_json:
        result = {"sent": ended.sent, "left": ended.left, "became": dict(counts), "refused": dict(refused)}
        click.echo(json.dumps({"done": result | {"state": str(path)}}))
    else:
        table = Table("", f"images of {opened.place}")
        for became, count in sorted(counts.items()):
            table.add_row(became, f"{count:,}")
        table.add_row("still to send", f"{ended.left:,}")
        console.print(table)
        for each, why in refused[:20]:
            console.print(f"refused: {each}: {why}", markup=False)
    done.close()
    raise SystemExit(1 if refused else 0)


def _foretold(
    client: Client, project: str, site: str, images: int, share: float | None, seconds: float, wage: float, cap: int
) -> Any:
    from triage.backfill.estimate import LEAST, estimate, review_share

    if share is not None:
        return estimate(images, share, "as you say", seconds, wage, cap)
    found = review_share(client.metrics(), project, site)
    if found is None or found[1] < LEAST:
        so_far = "nothing" if found is None else f"only {found[1]} images"
        return estimate(images, 1.0, f"at most: {so_far} of this site decided; give --share", seconds, wage, cap)
    return estimate(images, found[0], f"of the last {found[1]:,} of this site", seconds, wage, cap)


def _estimate(told: dict[str, Any], money: bool) -> Table:
    table = Table("before anything is sent", "", show_header=False)
    table.add_row(
        "images to send", f"{told['images']:,}" + (f" ({told['already']:,} were sent)" * bool(told["already"]))
    )
    table.add_row("go to people", f"{told['reviews']:,} ({told['share']:.0%}, {told['known_by']})")
    table.add_row("hours of reading", f"{told['hours']:,.1f}")
    if money:
        table.add_row("cost of reading", f"{told['cost']:,.0f}")
    table.add_row("days under the cap", f"{told['days']:,}")
    return table
