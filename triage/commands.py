"""`secondreader serve, predict, review, explain, log, recall, recover, doctor`."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from triage.client import Client, LeasedItem, LeaseLost, ServiceError
from triage.errors import SettingsError, TriageError
from triage.settings import Settings

_data = click.option("--data", type=click.Path(path_type=Path), help="Data folder [TRIAGE_DATA, default ./data].")
_config = click.option("--config", type=click.Path(path_type=Path), help="TOML file of settings.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_url = click.option("--url", envvar="SECONDREADER_URL", default="http://127.0.0.1:8080", show_default=True)
_key = click.option("--key", envvar="TRIAGE_API_KEY", help="API key [TRIAGE_API_KEY].")


def _settings(config: Path | None, **arguments: Any) -> Settings:
    try:
        return Settings.load(config, **arguments)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


@click.command()
@_config
@_data
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
        run(_settings(config, **arguments))
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--project", default="default", show_default=True)
@click.option("--site", default="default", show_default=True)
@click.option("--clients", default=4, show_default=True, help="Images in flight at once.")
@_url
@_key
@_json
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
        _progress(console, len(files), as_json) as step,
    ):
        results = []
        for result in _reached(url, pool.map(one, files)):
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


@click.command()
@click.option("--queue", default="default.review", show_default=True)
@click.option("--reviewer", envvar="USER", default="me", show_default=True)
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("review"), help="Where images are put to be seen."
)
@_url
@_key
def review(queue: str, reviewer: str, folder: Path, url: str, key: str | None) -> None:
    """Answers items in the terminal: lease, show, answer. Also the worked example of a queue consumer."""
    console = Console()
    folder.mkdir(parents=True, exist_ok=True)
    with Client(url, key) as client:
        while True:
            items = list(_reached(url, (item for item in client.lease(queue, reviewer, wait_s=1))))
            if not items:
                console.print("The queue is empty.")
                return
            item = items[0]
            try:
                path = folder / f"{item.item}.png"
                path.write_bytes(client.leased_image(item))
                client.shown(item)
                why = "read blind" if item.blind else f"asked because: {', '.join(item.reasons)}"
                console.print(f"\n[bold]{path}[/bold]  {why}")
                labels = {str(index): label for index, label in enumerate(item.labels, 1)}
                hints = {each["id"]: f" ({each['probability']:.2f})" for each in item.suggestions}
                console.print(
                    "  ".join(f"{index} {label['name']}{hints.get(label['id'], '')}" for index, label in labels.items())
                )
                choice = click.prompt(
                    "label, [n]one of these, [u]nusable, [s]kip, [q]uit", type=click.Choice([*labels, *"nusq"])
                )
                path.unlink()
                if choice == "q":
                    client.give_back(item)
                    return
                if choice == "s":
                    client.skip(item)
                elif choice in "nu":
                    client.answer(item, outcome="none_of_these" if choice == "n" else "unusable")
                else:
                    client.answer(item, *_said(item, labels[choice]["id"]))
            except LeaseLost as error:
                console.print(f"[yellow]not counted:[/yellow] {error}")


def _said(item: LeasedItem, chosen: str) -> tuple[list[str], list[str]]:
    """Labels present and absent; of a blind item each label is asked that the chosen one does not answer for."""
    present, absent = [chosen], list[str]()
    if item.blind:
        exclusive = {group["id"] for group in item.groups if group["kind"] == "exclusive"}
        answered = {label["group"] for label in item.labels if label["id"] == chosen} & exclusive
        for label in item.labels:
            if label["id"] == chosen or label["group"] in answered:
                continue
            there = click.confirm(f"{label['name']}?", default=False)
            (present if there else absent).append(label["id"])
            if there and label["group"] in exclusive:
                answered.add(label["group"])
    return present, absent


@click.command()
@click.argument("prediction_id")
@_config
@_data
@_json
def explain(prediction_id: str, config: Path | None, data: Path | None, as_json: bool) -> None:
    """Why was this image answered so? Decides again from the record and says what agrees."""
    from model_store.errors import ModelStoreError
    from triage.audit_key import NAME, audit_key
    from triage.catalog import Catalog
    from triage.explain import explain as again
    from triage.explain import find, summary

    settings = _settings(config, data=data)
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
        Console().print(_told(told))
    raise SystemExit(0 if all(each.agrees for each in explained) else 1)


@click.group("log")
def deployment_log() -> None:
    """The deployment log: everything that happened, as Parquet."""


@deployment_log.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("log"), show_default=True)
@_config
@_data
@_json
def export(out: Path, config: Path | None, data: Path | None, as_json: bool) -> None:
    """Writes the journal's records as Parquet, one folder a table and date. Twice changes nothing."""
    from triage.export import export as write

    settings = _settings(config, data=data)
    written = write(settings.journal_folder, out)
    _print_counts(written, f"rows in {out}", as_json)


@click.command()
@_config
@_data
@click.option("--redis-url")
@_json
def recover(config: Path | None, data: Path | None, redis_url: str | None, as_json: bool) -> None:
    """Makes queue and views again from every journal, after Redis lost them. Harmless when nothing was lost."""
    from triage.recover import recover as fold

    settings = _settings(config, data=data, redis_url=redis_url)
    try:
        counts = asyncio.run(fold(settings))
    except TriageError as error:
        raise click.ClickException(str(error)) from None
    _print_counts(counts, "recovered", as_json)


@click.command()
@_config
@_data
@_json
def recall(config: Path | None, data: Path | None, as_json: bool) -> None:
    """Answers in doubt: what every suspension recalled, and what became of it."""
    from triage.answers import when
    from triage.recall import listing

    settings = _settings(config, data=data)
    if not settings.journal_folder.is_dir():
        raise click.ClickException(
            f"{settings.journal_folder} holds no journal; name the gateways' data folder with --data"
        )
    found = listing(settings.journal_folder)
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
                prediction["prediction"], prediction["case"] or "", when(prediction["received_at"]),
                ", ".join(prediction["labels"]), prediction["became"],
            )  # fmt: skip
        console.print(table)


@click.command()
@_config
@_data
@click.option("--redis-url")
@click.option("--torchserve-url")
@_json
def doctor(
    config: Path | None, data: Path | None, redis_url: str | None, torchserve_url: str | None, as_json: bool
) -> None:
    """What is wrong here? Each finding comes with its mend."""
    from triage.doctor import examine

    findings = asyncio.run(examine(_settings(config, data=data, redis_url=redis_url, torchserve_url=torchserve_url)))
    if as_json:
        click.echo(json.dumps([{"part": each.part, "ok": each.ok, "says": each.says} for each in findings]))
    else:
        table = Table("part", "", "")
        for each in findings:
            table.add_row(each.part, "[green]ok[/green]" if each.ok else "[red]wrong[/red]", each.says)
        Console().print(table)
    raise SystemExit(0 if all(each.ok for each in findings) else 1)


def _reached(url: str, results: Any) -> Any:
    import httpx

    try:
        yield from results
    except httpx.ConnectError:
        raise click.ClickException(
            f"nothing answers at {url}; start it with 'secondreader up', or name another --url"
        ) from None
    except ServiceError as error:
        raise click.ClickException(str(error)) from None


def _progress(console: Console, total: int, quiet: bool) -> Any:
    from contextlib import contextmanager

    @contextmanager
    def shown() -> Any:
        with Progress(console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
            task = progress.add_task("images", total=total)
            yield lambda: progress.advance(task)

    return shown()


def _print_counts(counts: dict[str, int], title: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(counts))
        return
    table = Table("", title)
    for name, count in Counter(counts).items():
        table.add_row(name, f"{count:,}")
    Console().print(table)


def _told(told: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None)
    for key, value in told.items():
        table.add_row(f"[bold]{key}[/bold]", value if isinstance(value, str) else json.dumps(value))
    return table
