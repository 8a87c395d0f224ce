"""`secondreader review`."""

from __future__ import annotations

import getpass
from pathlib import Path

import click
from rich.console import Console

from triage.client import Client, LeasedItem, LeaseLost
from triage.commands.options import (
    key_option,
    reaching,
    url_option,
)


@click.command()
@click.option("--queue", default="default.review", show_default=True)
@click.option("--reviewer", help="For a key that names reviewers. [default: USER; for any other key, whose it is]")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("review"), help="Where images are put to be seen."
)
@url_option
@key_option
def review(queue: str, reviewer: str | None, folder: Path, url: str, key: str | None) -> None:
    """Answers items in the terminal: lease, show, answer. Also the worked example of a queue consumer."""
    console = Console()
    folder.mkdir(parents=True, exist_ok=True)
    with reaching(), Client(url, key) as client:
        if reviewer is None and client.me()["names_reviewers"]:
            reviewer = getpass.getuser()
        while True:
            items = client.lease(queue, reviewer, wait_s=1)
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
