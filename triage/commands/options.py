"""Options and ways of printing that several commands share."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from triage.client import ServiceError
from triage.errors import SettingsError, TriageError
from triage.settings import Settings

data_option = click.option("--data", type=click.Path(path_type=Path), help="Data folder [TRIAGE_DATA, default ./data].")
config_option = click.option("--config", type=click.Path(path_type=Path), help="TOML file of settings.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
url_option = click.option("--url", envvar="SECONDREADER_URL", default="http://127.0.0.1:8080", show_default=True)
key_option = click.option("--key", envvar="TRIAGE_API_KEY", help="API key [TRIAGE_API_KEY].")


def settings_of(config: Path | None, **arguments: Any) -> Settings:
    try:
        return Settings.load(config, **arguments)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def history_of(settings: Settings, told: Any = None) -> Any:
    """Everything that was ever recorded: the journals here and the log. Raises SettingsError where neither is."""
    from triage.archive.history import History
    from triage.journal.reading import to_the_log
    from triage.store.places import folder_of, open_objects

    log = folder_of(settings.log_place)
    if log is not None and not log.is_dir() and not settings.journal_folder.is_dir():
        raise SettingsError(f"nothing was recorded in {settings.data}; name the service's data folder with --data")
    return History(open_objects(settings.log_place), settings.journal_folder, told or to_the_log)


@contextmanager
def told_plainly() -> Iterator[None]:
    """What a user can mend ends the command with one sentence."""
    from model_store.errors import ModelStoreError

    try:
        yield
    except (TriageError, SettingsError, ModelStoreError) as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def damage_told() -> Iterator[Any]:
    """Gives what is to be called with each damage of the journal; the command then ends with 1, having done the rest."""
    found: list[Any] = []
    yield found.append
    for damage in found:
        click.echo(f"damaged: {damage}", err=True)
    if found:
        raise SystemExit(1)


@contextmanager
def reaching() -> Iterator[None]:
    """What the network or the service refuses ends the command with one sentence."""
    import httpx

    try:
        yield
    except (httpx.TransportError, ServiceError) as error:
        raise click.ClickException(str(error)) from None


def progress(console: Console, total: int, quiet: bool) -> Any:
    from contextlib import contextmanager

    @contextmanager
    def shown() -> Any:
        with Progress(console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
            task = progress.add_task("images", total=total)
            yield lambda: progress.advance(task)

    return shown()


class Counting:
    """Called for each thing that is done; shows how many, on a terminal only."""

    def __init__(self, what: str, quiet: bool) -> None:
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        self._shown = Progress(
            SpinnerColumn(), TextColumn("{task.completed:,.0f} " + what), TimeElapsedColumn(), console=console,
            transient=True, disable=quiet or not console.is_terminal,
        )  # fmt: skip
        self._task = self._shown.add_task(what, total=None)
        self._new = 0

    def __call__(self) -> None:
        self._new += 1
        if self._new == 1000:
            self._shown.advance(self._task, self._new)
            self._new = 0

    def close(self) -> None:
        self._shown.stop()


@contextmanager
def counting(what: str, quiet: bool) -> Iterator[Counting]:
    counted = Counting(what, quiet)
    counted._shown.start()
    try:
        yield counted
    finally:
        counted.close()


_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}") | dict.fromkeys(b"\t\n\r", " ")


def plain(text: str) -> str:
    """What strangers wrote, for a table or a line: neither markup nor commands to the terminal."""
    return escape(text.translate(_CONTROLS))


def print_counts(counts: dict[str, int], title: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(counts))
        return
    table = Table("", title)
    for name, count in Counter(counts).items():
        table.add_row(name, f"{count:,}")
    Console().print(table)
