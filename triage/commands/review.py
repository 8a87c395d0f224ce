"""`secondreader review`."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from triage.client import Client, LeasedItem, LeaseLost
from triage.commands.options import (
    key_option,
    plain,
    reaching,
    url_option,
)


@click.command()
@click.option("--queue", default="default.review", show_default=True)
@click.option("--reviewer", help="For a key that names reviewers. [default: USER; for any other key, whose it is]")
@click.option("--case", is_flag=True, help="Lease the images of a case together.")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("review"), help="Where images are put to be seen."
)
@url_option
@key_option
def review(queue: str, reviewer: str | None, case: bool, folder: Path, url: str, key: str | None) -> None:
    """Answers items in the terminal: lease, show, answer. Also the worked example of a queue consumer."""
    console = Console()
    folder.mkdir(parents=True, exist_ok=True)
    with reaching(), Client(url, key) as client:
        if reviewer is None and client.me()["names_reviewers"]:
            reviewer = getpass.getuser()
        while items := client.lease(queue, reviewer, wait_s=1, case=case):
            if not _read(client, console, folder, items):
                return
        console.print("The queue is empty.")


def _read(client: Client, console: Console, folder: Path, items: Sequence[LeasedItem]) -> bool:
    """Asks about what was leased, one after another; False when the reviewer goes. All leases are kept meanwhile: somebody who
    thinks for long, or reads a large case, loses none."""
    if len(items) > 1:
        console.print(f"\n[bold]Case {plain(items[0].case or '')}[/bold]: {len(items)} images")
    with contextlib.ExitStack() as held:
        for item in items:
            held.enter_context(client.holding(item))
        for number, item in enumerate(items):
            try:
                if not _ask(client, console, folder, item):
                    _give_back(client, items[number:])
                    return False
            except LeaseLost as error:
                console.print(f"[yellow]not counted:[/yellow] {plain(str(error))}")
    return True


def _give_back(client: Client, items: Sequence[LeasedItem]) -> None:
    for item in items:
        with contextlib.suppress(LeaseLost):
            client.give_back(item)


def _ask(client: Client, console: Console, folder: Path, item: LeasedItem) -> bool:
    """Shows an item and sends what is said of it; False when the reviewer goes. Raises LeaseLost."""
    path = folder / f"{item.item}.png"
    path.write_bytes(client.leased_image(item))
    try:
        client.shown(item)
        why = "read blind" if item.blind else f"asked because: {', '.join(item.reasons)}"
        console.print(f"\n[bold]{path}[/bold]  {why}")
        for each in item.earlier:
            console.print(f"  said before: {plain(_told(each))}")
        labels = {str(index): label for index, label in enumerate(item.labels, 1)}
        hints = {each["id"]: f" ({each['probability']:.2f})" for each in item.suggestions}
        console.print(
            "  ".join(f"{index} {label['name']}{hints.get(label['id'], '')}" for index, label in labels.items())
        )
        choice = click.prompt(
            "label, [n]one of these, [u]nusable, [e]scalate, [s]kip, [q]uit", type=click.Choice([*labels, *"nuesq"])
        )
    finally:
        path.unlink()
    if choice == "q":
        return False
    if choice == "s":
        client.skip(item)
    elif choice == "e":
        client.escalate(item, click.prompt("why", default="", show_default=False))
    elif choice in "nu":
        client.answer(item, outcome="none_of_these" if choice == "n" else "unusable")
    else:
        client.answer(item, *_said(item, labels[choice]["id"]))
    return True


def _told(earlier: dict[str, object]) -> str:
    answers = earlier.get("answers")
    said = answers.items() if isinstance(answers, dict) else ()
    words = [f"{label} {answer}" for label, answer in said] or [str(earlier.get("outcome", ""))]
    note = earlier.get("note")
    return ", ".join(words) + (f" ({note})" if note else "")


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
