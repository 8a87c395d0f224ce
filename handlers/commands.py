"""Command lines of this package: `secondreader archive`, and the server with its probe for containers."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Literal

import click

from handlers import archive as archives
from handlers import probe as probes
from handlers.errors import HandlersError, ServerError
from handlers.server import TorchServe
from handlers.serving import Serving
from model_store import bundle as bundles
from model_store.errors import ModelStoreError

Provider = Literal["cpu", "cuda"]
_bundle = click.option(
    "--bundle",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    envvar="SECONDREADER_BUNDLE",
    show_envvar=True,
    required=True,
    help="The bundle's folder, <data>/models/<name>/<version>.",
)
_provider = click.option("--provider", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
_workers = click.option("--workers", type=int, help="Processes; by default one a core, or two on a GPU.")
_threads = click.option("--threads", type=int, default=1, show_default=True, help="Threads a worker.")


@click.command()
@click.argument("folder", metavar="BUNDLE", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="By default <data>/archives.")
@_provider
@_workers
@_threads
def archive(folder: Path, out: Path | None, provider: Provider, workers: int | None, threads: int) -> None:
    """Write BUNDLE as a .mar file that any TorchServe with these packages loads.

    The bundle is checked in full first: digests, graph, golden samples.
    """
    try:
        bundle = bundles.open(folder, verify="full")
        serving = Serving.for_machine(provider, workers, threads)
        written = archives.write(bundle, out or folder.resolve().parents[2] / "archives", serving)
    except (HandlersError, ModelStoreError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(str(written))


@click.group(invoke_without_command=True)
@click.pass_context
@click.option("--bundle", "folder", type=click.Path(path_type=Path), envvar="SECONDREADER_BUNDLE", show_envvar=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address for predictions and metrics.")
@click.option("--port", type=int, default=8080, show_default=True, help="Port for predictions.")
@click.option("--metrics-port", type=int, default=8082, show_default=True)
@_provider
@_workers
@_threads
@click.option("--deadline", type=float, default=300.0, show_default=True, help="Seconds to become ready.")
@click.option("--drain", type=float, default=5.0, show_default=True, help="Seconds to go on answering after SIGTERM.")
def server(
    context: click.Context,
    folder: Path | None,
    host: str,
    port: int,
    metrics_port: int,
    provider: Provider,
    workers: int | None,
    threads: int,
    deadline: float,
    drain: float,
) -> None:
    """Run TorchServe for one bundle until SIGTERM or Ctrl-C; end with code 1 when it does not start or dies."""
    if context.invoked_subcommand:
        return
    if folder is None:
        raise click.UsageError("name the bundle's folder with --bundle or SECONDREADER_BUNDLE")
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: asked.set())
    try:
        serving = Serving.for_machine(provider, workers, threads)
        bundle = bundles.open(folder)
        running = TorchServe(bundle, serving, port=port, metrics_port=metrics_port, host=host, console=True)
        try:
            running.start()
            running.wait_ready(deadline, asked.is_set)
            if not asked.is_set():
                click.echo(f"ready: {bundle.manifest.name} {bundle.manifest.version} on {provider} at {running.url}")
            _watch(running, asked, deadline)
            # Whoever sends requests learns of the end later than we do: answer a little longer.
            signal.signal(signal.SIGTERM, _at_once)
            signal.signal(signal.SIGINT, _at_once)
            threading.Event().wait(drain)
        finally:
            running.stop()
    except (HandlersError, ModelStoreError) as error:
        raise click.ClickException(str(error)) from None


def _watch(running: TorchServe, asked: threading.Event, deadline: float) -> None:
    """Returns when asked to end. Raises ServerError when java ends or has had no worker for too long.

    TorchServe stops restarting a worker after five minutes of failures and lives on without one.
    """
    seen = time.monotonic()
    while not asked.wait(1.0):
        running.check_alive()
        if running.ready_workers():
            seen = time.monotonic()
        elif time.monotonic() - seen > deadline:
            raise ServerError(f"no worker has been ready for {deadline:g} s; its log says why", running.log_tail())


def _at_once(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


@server.command()
@_bundle
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, default=8080, show_default=True)
@click.option("--timeout", type=float, default=5.0, show_default=True, help="Seconds for each golden image.")
def probe(folder: Path, host: str, port: int, timeout: float) -> None:
    """End with code 0 when the running server answers every golden image of its bundle right, 1 otherwise."""
    try:
        readiness = probes.check(host, port, bundles.open(folder), timeout)
    except (HandlersError, ModelStoreError) as error:
        raise click.ClickException(str(error)) from None
    if readiness != "ready":
        raise click.ClickException(f"nothing answers at {host}:{port} yet; wait, or read the server's log")
    click.echo(readiness)
