"""Readings of several people become one answer: by the rules, as soon as they can, and in no other way."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.labels import Group, Label, LabelSchema
from model_store.record import Answer, EarlierReading, Outcome
from triage.reviewing.consensus import Agreement, Consensus, Rule, consensus

SCHEMA = LabelSchema(
    labels=tuple(Label(id=each, name=each) for each in ("cat", "dog"))
    + tuple(Label(id=each, name=each, group="extras") for each in ("collar", "leash")),
    groups=(Group(), Group(id="extras", kind="independent")),
)
Said = str | dict[str, Answer]


def reading(said: Said, reviewer: str = "ada") -> EarlierReading:
    """A label that is present, an outcome, a new label after `+`, or answers."""
    if isinstance(said, dict):
        return EarlierReading(verdict=reviewer, reviewer=reviewer, answers=said)
    if said.startswith("+"):
        return EarlierReading(verdict=reviewer, reviewer=reviewer, outcome="new_label", new_label=said[1:])
    if said in ("none_of_these", "unusable"):
        return EarlierReading(verdict=reviewer, reviewer=reviewer, outcome=said)  # type: ignore[arg-type]
    return EarlierReading(verdict=reviewer, reviewer=reviewer, answers={said: "present"})


def of(agree: int, readers: int, rule: Rule, *said: Said) -> Consensus:
    return consensus([reading(each, str(n)) for n, each in enumerate(said)], Agreement(agree, readers, rule), SCHEMA)


@pytest.mark.parametrize("rule", ["exact", "per_label"])
@pytest.mark.parametrize(
    ("agree", "readers", "said", "state"),
    [
        (1, 1, ("cat",), "decided"),
        (2, 2, ("cat",), "open"),
        (2, 2, ("cat", "cat"), "decided"),
        (2, 2, ("cat", "dog"), "undecidable"),
        (2, 3, ("cat", "dog"), "open"),
        (2, 3, ("cat", "dog", "dog"), "decided"),
        (2, 3, ("cat", "dog", "unusable"), "undecidable"),
        (3, 4, ("cat", "dog"), "open"),
        (3, 4, ("cat", "dog", "unusable"), "undecidable"),
        (2, 3, ("unusable", "none_of_these", "none_of_these"), "decided"),
        (2, 2, ("+Red  fox", "+red fox"), "decided"),
        (2, 2, ("+fox", "+wolf"), "undecidable"),
    ],
)
def test_the_same_is_counted(rule: Rule, agree: int, readers: int, said: tuple[str, ...], state: str) -> None:
    assert of(agree, readers, rule, *said).state == state


def test_what_makes_no_claim_makes_no_difference_to_the_exact_rule() -> None:
    made = of(2, 2, "exact", {"cat": "present", "collar": "unsure"}, {"cat": "present", "collar": "not_assessed"})
    assert made == Consensus("decided", "labels", {"cat": "present"})
    assert of(2, 2, "exact", {"cat": "present"}, {"cat": "present", "collar": "absent"}).state == "undecidable"


def test_each_label_is_decided_for_itself() -> None:
    """No two of these say the same of everything, and of each label two do."""
    said: tuple[Said, ...] = (
        {"cat": "present", "collar": "present", "leash": "absent"},
        {"cat": "present", "collar": "absent", "leash": "present"},
        {"dog": "present", "collar": "present", "leash": "present"},
    )
    assert of(2, 3, "exact", *said).state == "undecidable"
    assert of(2, 3, "per_label", *said[:2]).state == "open"
    agreed: dict[str, Answer] = {"cat": "present", "collar": "present", "leash": "present"}
    assert of(2, 3, "per_label", *said) == Consensus("decided", "labels", agreed)


def test_of_an_undecidable_image_only_the_decided_labels_are_agreed() -> None:
    said: tuple[Said, ...] = ({"cat": "present", "collar": "present"}, {"cat": "present", "collar": "absent"})
    made = of(2, 2, "per_label", *said)
    assert made == Consensus("undecidable", "undecided", {"cat": "present", "collar": "unsure"})
    assert of(2, 2, "exact", *said).answers == {"cat": "unsure", "collar": "unsure"}


@pytest.mark.parametrize(("agree", "readers"), [(0, 1), (2, 1), (3, 2)])
def test_numbers_that_nobody_can_meet_are_refused(agree: int, readers: int) -> None:
    with pytest.raises(ValueError, match="cannot agree"):
        Agreement(agree, readers)


outcomes: st.SearchStrategy[Outcome] = st.sampled_from(["labels", "labels", "none_of_these", "unusable", "new_label"])


@st.composite
def readings(draw: st.DrawFn) -> EarlierReading:
    outcome: Outcome = draw(outcomes)
    if outcome == "new_label":
        return reading("+" + draw(st.sampled_from(["fox", "Fox", "owl"])))
    answers: dict[str, Answer] = draw(
        st.dictionaries(st.sampled_from(["collar", "leash"]), st.sampled_from(["present", "absent", "unsure"]))
    )
    if outcome == "labels" and (animal := draw(st.sampled_from(["cat", "dog", ""]))):
        answers[animal] = "present"
    if outcome != "labels":
        answers = {label: answer for label, answer in answers.items() if answer != "present"}
    return EarlierReading(verdict="v", reviewer="r", outcome=outcome, answers=answers)


rules = st.sampled_from(["exact", "per_label"])
several = st.lists(readings(), min_size=1, max_size=5)


@given(several, st.integers(1, 5), st.integers(0, 3), rules)
def test_it_ends_when_the_readers_are_used_up(
    said: Sequence[EarlierReading], agree: int, more: int, rule: Rule
) -> None:
    """While it is open another reader may be asked; when nobody is left it is not open."""
    asked = Agreement(agree, max(agree, len(said)) + more, rule)
    state = consensus(said, asked, SCHEMA).state
    assert not (state == "open" and len(said) == asked.readers)


@given(several, st.integers(1, 4), st.integers(0, 3), rules, st.randoms())
def test_who_read_first_makes_no_difference(
    said: list[EarlierReading], agree: int, more: int, rule: Rule, chance: object
) -> None:
    asked = Agreement(agree, max(agree, len(said)) + more, rule)
    shuffled = list(said)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    before, after = consensus(said, asked, SCHEMA), consensus(shuffled, asked, SCHEMA)
    assert before.state == after.state
    if 2 * asked.agree > asked.readers:  # else two camps may both be large enough
        assert before.outcome == after.outcome


@given(several, readings(), st.integers(1, 4), st.integers(1, 3), rules)
def test_undecidable_is_for_ever(
    said: list[EarlierReading], next_one: EarlierReading, agree: int, more: int, rule: Rule
) -> None:
    """Nobody was spared who could have decided it: whatever another reader says, it stays undecidable."""
    asked = Agreement(agree, max(agree, len(said)) + more, rule)
    if consensus(said, asked, SCHEMA).state == "undecidable":
        assert consensus([*said, next_one], asked, SCHEMA).state == "undecidable"


@given(several, st.integers(2, 4), rules)
def test_open_can_still_be_decided(said: list[EarlierReading], agree: int, rule: Rule) -> None:
    """Nobody is asked in vain: from an open state some answers of those who are left decide it."""
    asked = Agreement(agree, agree + 1, rule)
    if len(said) >= asked.readers or consensus(said, asked, SCHEMA).state != "open":
        return
    left = asked.readers - len(said)
    every = [*said, *_anything()]
    endings = itertools.product(every, repeat=left)
    assert any(consensus([*said, *ending], asked, SCHEMA).state == "decided" for ending in endings)


def _anything() -> list[EarlierReading]:
    animals: list[dict[str, Answer]] = [{}, {"cat": "present"}, {"dog": "present"}]
    extras: list[Answer | None] = ["present", "absent", "unsure", None]
    found = []
    for animal, collar, leash in itertools.product(animals, extras, extras):
        answers = dict(animal)
        answers |= {label: said for label, said in (("collar", collar), ("leash", leash)) if said}
        found.append(EarlierReading(verdict="v", reviewer="r", answers=answers))
    return found


@given(several, st.integers(1, 4), st.integers(0, 2), rules)
def test_what_is_agreed_was_said_by_enough(said: list[EarlierReading], agree: int, more: int, rule: Rule) -> None:
    asked = Agreement(agree, max(agree, len(said)) + more, rule)
    made = consensus(said, asked, SCHEMA)
    assert (made.state == "open") == (made.answers is None)
    if made.state == "decided":
        assert sum(each.outcome == made.outcome for each in said) >= agree
    for label, answer in (made.answers or {}).items():
        if made.state == "decided" or answer != "unsure":
            assert sum(each.answers.get(label) == answer for each in said) >= agree
    present = [label for label, answer in (made.answers or {}).items() if answer == "present"]
    assert not {"cat", "dog"} <= set(present)
