"""`secondreader plan, report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from training.options import DATA, JSON, RECIPE, SHARE, open_bundle, plainly, recipe_of

if TYPE_CHECKING:
    from training.plan import Costs, Plan
    from training.promises import Estimate


@click.command()
@click.argument("bundle")
@DATA
@RECIPE
@click.option("--target", "targets", type=SHARE, multiple=True, help="Precision to promise; may be repeated.")
@click.option("--delta", "deltas", type=SHARE, multiple=True, help="Risk of a false proof; may be repeated.")
@click.option("--images", type=int, help="Certification images that will be labelled. [default: those in the data]")
@click.option("--rate", type=float, default=100, show_default=True, help="Images an hour, on average.")
@click.option("--peak", type=float, default=2, show_default=True, help="The busiest hour over the average one.")
@click.option("--hours", type=float, default=24, show_default=True, help="Hours a day in which images arrive.")
@click.option("--seconds", type=float, default=20, show_default=True, help="A person takes for one image.")
@click.option("--wait", type=float, default=15, show_default=True, help="Minutes an image may wait for a reader.")
@click.option("--within", type=float, default=0.95, show_default=True, help="Share of images that wait no longer.")
@click.option("--audits", type=float, default=0.05, show_default=True, help="Share of answers that people read too.")
@click.option("--wage", type=float, help="Money for an hour of reading.")
@click.option("--cost-per-error", type=float, help="Money lost by a wrong automatic answer.")
@click.option("--draws", type=int, help="Simulated certifications per promise.  [default: 40]")
@JSON
def plan(
    bundle: str,
    data: Path,
    recipe: Path | None,
    targets: tuple[float, ...],
    deltas: tuple[float, ...],
    images: int | None,
    draws: int | None,
    as_json: bool,
    **work: Any,
) -> None:
    """What each promise would answer, and what it costs: people, hours, money. Reads no certification image.

    BUNDLE is a bundle's folder, or `name/version` in the data folder.
    """
    with plainly():
        from training import plan as planning

        opened = open_bundle(bundle, data)
        made = planning.run(
            opened,
            recipe_of(opened, recipe),
            data,
            planning.Work(**work),
            targets or planning.TARGETS,
            deltas,
            images,
            planning.DRAWS if draws is None else draws,
        )
    if as_json:
        click.echo(json.dumps(made.to_dict(), indent=1))
    else:
        _show_plan(made)


@click.command()
@click.argument("bundle")
@DATA
@RECIPE
@click.option("--rules", "digest", help="Digest of the rules, or its first 8 digits. [default: the last certified]")
@JSON
def report(bundle: str, data: Path, recipe: Path | None, digest: str | None, as_json: bool) -> None:
    """A page to look at: what the model answers, how right it is, and the proof. Scores the test images.

    BUNDLE is a bundle's folder, or `name/version` in the data folder.
    """
    with plainly():
        from training import page

        opened = open_bundle(bundle, data)
        path, values = page.run(opened, recipe_of(opened, recipe), data, digest)
    if as_json:
        click.echo(json.dumps(values, indent=1, default=str))
    else:
        click.echo(f"{path}: open it in a browser; every number on it is in {path.with_suffix('.json').name}")


def _show_plan(made: Plan) -> None:
    work = made.work
    table = Table(
        title=f"{made.images:,} certification images, {work.rate:g} images an hour (busiest hour x {work.peak:g}), "
        f"{work.seconds:g} s each, {work.within:.0%} read within {work.wait:g} min",
        caption=f"from {made.tune:,} tuning images, {made.draws} simulated certifications a promise; below each what "
        "nine of ten of them give",
        box=SIMPLE_HEAD,
    )
    headings = ("promise", "% answered", "wrong in 1,000", "readers", "hours a day", "errors a day")
    for heading in headings:
        first = heading == "promise"
        table.add_column(
            heading, justify="left" if first else "right", no_wrap=first, min_width=9 if "wrong" in heading else None
        )
    if work.wage is not None:
        table.add_column("cost a day", justify="right")
    nothing = made.nothing_automatic
    table.add_row("people alone", "0", "", str(nothing.people), *_day(nothing))
    for row in made.rows:
        promise = row.promise
        table.add_row(
            f"≥ {promise.target:g}\nat {1 - promise.delta:.0%}",
            _range(promise.share, 100, 0),
            _range(promise.errors, 1, 1) if promise.errors else "",
            f"{row.costs.people}\n{row.few}–{row.many}",
            *_day(row.costs),
        )
    Console().print(table)


def _range(estimate: Estimate, scale: float, digits: int) -> str:
    mean, low, high = (f"{scale * value:.{digits}f}" for value in (estimate.mean, estimate.low, estimate.high))
    return f"{mean}\n{low}–{high}"


def _day(costs: Costs) -> tuple[str, ...]:
    money = () if costs.money is None else (f"{costs.money:,.0f}",)
    return (f"{costs.reading_hours:,.1f}", f"{costs.errors:,.1f}", *money)
