"""The terminal's consumer answers plain items and blind ones, and asks of a blind one what a single choice leaves open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from model_store.labels import Group, Label, LabelSchema
from tests.triage.serving import KEY, Served
from triage.client import LeasedItem
from triage.commands.options import plain
from triage.commands.review import _said, review

STUDY = LabelSchema(
    labels=(
        Label(id="nodule", name="Nodule", group="findings"),
        Label(id="effusion", name="Effusion", group="findings"),
        Label(id="good", name="Good", group="quality"),
        Label(id="poor", name="Poor", group="quality"),
    ),
    groups=(Group(id="findings", kind="independent"), Group(id="quality")),
)


def item(blind: bool) -> LeasedItem:
    labels: list[dict[str, Any]] = [label.model_dump() for label in STUDY.labels]
    groups: list[dict[str, Any]] = [group.model_dump() for group in STUDY.groups]
    return LeasedItem("t", "i", "", (), (), tuple(labels), tuple(groups), blind)


@pytest.mark.parametrize(
    ("chosen", "typed", "present", "absent"),
    [
        ("nodule", "y\nn\ny\n", ["nodule", "effusion", "poor"], ["good"]),
        ("nodule", "n\ny\n", ["nodule", "good"], ["effusion"]),
        ("good", "n\nn\n", ["good"], ["nodule", "effusion"]),
    ],
)
def test_a_blind_item_is_asked_label_by_label(chosen: str, typed: str, present: list[str], absent: list[str]) -> None:
    with CliRunner().isolation(input=typed):
        assert _said(item(blind=True), chosen) == (present, absent)
    assert _said(item(blind=False), chosen) == ([chosen], [])


def test_what_waits_is_read_at_the_terminal(served: Served, tmp_path: Path) -> None:
    queue = served.project("terminal")
    sent = [served.predict("blue", salt, project="terminal")["id"] for salt in range(2)]
    asked = ["--queue", queue, "--reviewer", "ada", "--folder", str(tmp_path), "--url", served.gateway.url]
    ended = CliRunner().invoke(review, [*asked, "--key", KEY], input="3\nn\n")
    assert ended.exit_code == 0, ended.output
    assert "The queue is empty." in ended.output
    finals = [served.http.get(f"/v1/predictions/{each}").json()["final"] for each in sent]
    assert [(each["labels"], each["outcome"]) for each in finals] == [(["blue"], "labels"), ([], "none_of_these")]
    assert list(tmp_path.iterdir()) == []


def test_what_strangers_wrote_commands_no_terminal(served: Served, tmp_path: Path) -> None:
    """A caller's name of a case is neither markup, which would end the program, nor an escape sequence."""
    queue = served.project("stranger")
    for salt in range(2):
        served.predict("blue", salt, project="stranger", case="\x1b]0;mine\x07[/bold] [link=https://evil.example]c1")
    asked = ["--queue", queue, "--reviewer", "ada", "--case", "--folder", str(tmp_path), "--url", served.gateway.url]
    ended = CliRunner().invoke(review, [*asked, "--key", KEY], input="q\n", color=True)
    assert ended.exit_code == 0, ended.output
    assert "[/bold] [link=https://evil.example]c1: 2 images" in ended.output
    assert not {"\x07", "\x1b"} & set(ended.output.partition("mine")[0].partition("Case")[2])


@pytest.mark.parametrize("text", ["[red]x[/red]", "[/x]", "a\x1b[2Jb", "\x9b2J", "a\\b", "[", "one\ntwo"])
def test_plain_text_is_printed_as_it_is_but_for_controls(text: str) -> None:
    console = Console(force_terminal=True, width=80, record=True)
    with console.capture() as capture:
        console.print(plain(text), highlight=False)
    shown = capture.get().removesuffix("\n")
    assert shown == "".join(" " if each == "\n" else each if each.isprintable() else "\ufffd" for each in text)


def test_a_case_is_read_together_and_what_is_left_goes_back(served: Served, tmp_path: Path) -> None:
    queue = served.project("study")
    for salt, case in enumerate(["c1", "c2", "c1", "c1"]):
        served.predict("blue", salt, project="study", case=case)
    asked = ["--queue", queue, "--reviewer", "ada", "--case", "--folder", str(tmp_path), "--url", served.gateway.url]
    ended = CliRunner().invoke(review, [*asked, "--key", KEY], input="3\ns\nq\n")
    assert ended.exit_code == 0, ended.output
    assert "Case c1: 3 images" in ended.output
    state = served.http.get(f"/v1/queues/{queue}").json()
    assert (state["waiting"], state["leased"], state["answered_last_hour"]) == (3, 0, 1)
    assert [each["case"] for each in served.lease(queue, "ada", count=9)["items"]] == [
        "c2",
        "c1",
    ]  # the other was skipped
