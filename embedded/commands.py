"""`secondreader demo` and `secondreader up`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from embedded.declare import declared, go_live, key_of_this_run
from embedded.demo import REVIEWED, Demo, account, go_on, rounded_down, write_summary
from embedded.ports import free_ports, is_free
from embedded.process import StartError
from embedded.stack import Gateway, Stack
from handlers.errors import HandlersError
from model_store import bundle as bundles
from model_store import rules as rule_files
from model_store.errors import ModelStoreError
from training import sample
from triage.errors import SettingsError
from triage.settings import Settings

PORT = 8080
WIDTH = 110
"""Of what is printed into a file."""
POLL_S = 0.5
_ACCESS = frozenset(name for name in Settings.model_fields if name.startswith(("oidc_", "proxy_"))) | {
    "admin_key_sha256"
}
DEMO_DECIDES = frozenset({"journal", "store", "blobs", "control", "log", "trusted_keys", "rate_limit"}) | _ACCESS
"""The demo accounts for the journal of its own folder, under rules that it signed there, and asks nobody for a key."""


@click.command()
@click.option("--once", is_flag=True, help="End after the account instead of serving on.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("build/demo"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print only summary.json.")
def demo(once: bool, folder: Path, as_json: bool) -> None:
    """Everything on one machine: train, certify, serve, triage, review, and an account of it all."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console(quiet=as_json)
    if not console.is_terminal:
        console.width = WIDTH
    made = Demo(folder, console.print)
    try:
        made.prepare()
        with Stack(made.data, PORT if is_free(PORT) else free_ports(1)[0], DEMO_DECIDES) as stack:
            gateway = made.start(stack)
            sent = made.stream(gateway, sample.images("test"))
            read = made.review(gateway, sent)
            checked = made.audit(gateway, sent)
            summary = account(made, sent, {**read, **checked})
            path = write_summary(folder, summary)
            _show(console, summary, path)
            if as_json:
                click.echo(json.dumps(summary, indent=2))
            if not once:
                console.print(f"\nReview the rest at [bold]{gateway.url}/review[/bold]. Ctrl-C stops.")
                _until_told_to_stop(gateway)
                console.print(f"\nGo on with it: {go_on(made.data)}", soft_wrap=True)
    except (StartError, HandlersError, ModelStoreError) as error:
        raise click.ClickException(str(error)) from None
    kept = read["reviewed"] == REVIEWED and read["audits"]["read"] == read["audits"]["drawn"]
    kept = kept and not checked["lost"] and not checked["disagreements"]
    upper, target = summary["precision_upper_95"], summary["target"]
    raise SystemExit(0 if kept and upper is not None and upper >= target else 1)


@click.command()
@click.option("--data", type=click.Path(path_type=Path), envvar="TRIAGE_DATA", default=Path("data"), show_default=True)
@click.option("--model", help="name/version to serve; without, the model of the site that the folder declares.")
@click.option("--rules", help="Digest of the rules to answer by; with --model alone everything is assisted.")
@click.option("--port", default=PORT, show_default=True)
def up(data: Path, model: str | None, rules: str | None, port: int) -> None:
    """Valkey, TorchServe and the gateway over an existing data folder; Ctrl-C drains and stops."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console()
    try:
        bundle = bundles.find(data, model or declared(data))
        found = rule_files.find(data, rules) if rules else None
        key = key_of_this_run(data)
        with Stack(data, port) as stack:
            redis, model_server = stack.start_redis(), stack.start_torchserve(bundle)
            gateway = stack.start_gateway(redis, model_server, key)
            replaced = go_live(gateway.url, bundle, found, key) if model else None
            if replaced:
                console.print(replaced, soft_wrap=True)
            name = f"{bundle.manifest.name}/{bundle.manifest.version}"
            console.print(
                f"Serving {name} at [bold]{gateway.url}[/bold]; review at {gateway.url}/review. Ctrl-C stops."
            )
            # Ports differ from start to start. A Redis that was named is known to doctor already; its URL may hold a password.
            own = "" if "TRIAGE_REDIS_URL" in os.environ else f" --redis-url {redis}"
            console.print(
                f"Is all well? secondreader doctor --data {data}{own} --torchserve-url {model_server}",
                soft_wrap=True,
                highlight=False,
            )
            _until_told_to_stop(gateway)
    except (StartError, HandlersError, ModelStoreError, SettingsError) as error:
        raise click.ClickException(str(error)) from None


def _until_told_to_stop(gateway: Gateway) -> None:
    """Raises StartError when the gateway ends first."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(POLL_S):
        if not gateway.process.running:
            raise StartError(f"the gateway ended by itself; {gateway.process.log} says why")


def _show(console: Console, summary: dict[str, Any], path: Path) -> None:
    classes = Table(title="What each class may do", title_justify="left")
    for column in ("class", "state", "answers above", "certified precision", "answered", "right"):
        classes.add_column(column)
    for label, each in summary["classes"].items():
        bound = f">= {rounded_down(each['certified_bound'], 3):.3f}" if each["certified_bound"] else ""
        threshold = f"{each['threshold']:.3f}" if each["state"] == "automatic" else ""
        counts = (str(each["answered"]), str(each["right"])) if each["state"] == "automatic" else ("", "")
        classes.add_row(label, each["state"], threshold, bound, *counts)
    console.print(classes)
    for label, each in summary["classes"].items():
        if each["lacks"]:
            console.print(f"  [bold]{label}[/bold] does not answer: {each['lacks']}", soft_wrap=True)
    triage = Table(title=f"What became of {summary['images']:,} images", title_justify="left", show_header=False)
    for route, count in sorted(summary["routes"].items()):
        triage.add_row(route, f"{count:,}")
    for reason, count in sorted(summary["reasons"].items()):
        triage.add_row(f"  because {reason}", f"{count:,}")
    if summary["precision"] is not None:
        bound, target = summary["precision_upper_95"], summary["target"]
        found = f"{summary['precision']:.3f} (95% upper bound {bound:.3f}, promised {target:.2f})"
        triage.add_row("automatic answers that were right", found)
    unseen = summary["never_seen_class"]
    triage.add_row(
        f"never seen in training ({', '.join(unseen['labels'])})",
        f"{unseen['answered_automatically']} of {unseen['images']} answered automatically",
    )
    triage.add_row("reviewed by a person", str(summary["reviewed"]))
    audits = summary["audits"]
    triage.add_row(
        "answers drawn for a blind reading",
        f"{audits['drawn']}, read again by a second person {audits['read_again']}, corrected {audits['corrected']}",
    )
    triage.add_row("lost", str(summary["lost"]))
    triage.add_row("records that explain themselves", f"{summary['explained'] - summary['disagreements']:,}")
    triage.add_row("seconds", ", ".join(f"{stage} {seconds}" for stage, seconds in summary["seconds"].items()))
    console.print(triage)
    console.print(f"The account: {path}")
