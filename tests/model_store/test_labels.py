"""The label schema: what cannot be is refused, and its digest is what everything else trusts."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from model_store.labels import Group, Label, LabelSchema

A, B = Label(id="a", name="A"), Label(id="b", name="B")


def refused(says: str, **document: Any) -> None:
    with pytest.raises(ValidationError, match=says):
        LabelSchema(**document)


def test_ids_and_members_keep_the_order_of_the_schema() -> None:
    schema = LabelSchema(
        labels=(B, Label(id="c", name="C", group="more"), A), groups=(Group(), Group(id="more", required=False))
    )
    assert schema.ids == ("b", "c", "a")
    assert schema.members("main") == ("b", "a")
    assert schema.members("more") == ("c",)
    assert schema["c"].name == "C"
    with pytest.raises(KeyError):
        schema["d"]


def test_the_impossible_is_refused_with_its_mend() -> None:
    refused("'a' stands twice; give each its own", labels=(A, A))
    refused("group id 'main' stands twice", labels=(A,), groups=(Group(), Group()))
    refused("names the group 'x'; declare it under groups", labels=(Label(id="a", name="A", group="x"),))
    refused("names the parent 'x'; declare it under labels", labels=(Label(id="a", name="A", parent="x"),))
    refused("at least 1 item", labels=())


def test_a_group_without_labels_is_refused() -> None:
    """Were it required, nothing could ever be answered."""
    refused("group 'more' has no label; give it one or remove it", labels=(A,), groups=(Group(), Group(id="more")))


def test_a_schema_in_which_no_group_is_required_is_refused() -> None:
    """Every image would be answered, with nothing."""
    refused(
        "no group is required; every image would be answered with nothing", labels=(A,), groups=(Group(required=False),)
    )


@pytest.mark.parametrize(
    "parents", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "b"}], ids=["itself", "pair", "tail"]
)
def test_parents_that_run_in_a_circle_are_refused(parents: dict[str, str]) -> None:
    labels = tuple(Label(id=name, name=name, parent=parents.get(name)) for name in "abc")
    refused("circle of parents; remove one", labels=labels)


@pytest.mark.parametrize("bad", ["", "A", "-a", "a b", "a/b", "a" * 65, "é", "a\n"])
def test_an_id_is_made_to_last(bad: str) -> None:
    with pytest.raises(ValidationError):
        Label(id=bad, name="x")


def test_the_digest_is_the_same_on_every_machine_and_in_every_version() -> None:
    """Rules and verdicts name a schema by it: if this constant has to change, all stored rules become void."""
    schema = LabelSchema(labels=(A, Label(id="b", name="B", codes={"snomed": "1", "icd": "2"})))
    assert schema.digest == "sha256:ac69bcd00688884ef5ae1354d825eaae5a955bc6f9142f1e6c9b29cef80f97c7"


def test_the_digest_is_of_the_meaning_and_not_of_how_it_was_written() -> None:
    one = LabelSchema(labels=(Label(id="a", name="A", codes={"x": "1", "y": "2"}),))
    other = LabelSchema(
        labels=(Label(id="a", name="A", group="main", parent=None, codes={"y": "2", "x": "1"}),), groups=(Group(),)
    )
    assert one.digest == other.digest
    assert LabelSchema.model_validate_json(one.model_dump_json()).digest == one.digest


@pytest.mark.parametrize(
    "other",
    [
        LabelSchema(labels=(B, A)),
        LabelSchema(labels=(A,)),
        LabelSchema(labels=(A, Label(id="b", name="C"))),
        LabelSchema(labels=(A, Label(id="b", name="B", parent="a"))),
        LabelSchema(labels=(A, B), groups=(Group(kind="independent"),)),
    ],
)
def test_any_change_of_meaning_changes_the_digest(other: LabelSchema) -> None:
    assert other.digest != LabelSchema(labels=(A, B)).digest
