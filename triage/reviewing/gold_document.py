"""The document of a gold: an image of which the right answer is known, slipped in to see how people read. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model_store.labels import LabelId, LabelSchema
from model_store.record import Answer, Outcome
from triage.reviewing.verdicts import check_answers

Known = Literal["present", "absent"]


class Suggested(BaseModel):
    """As a reviewer is shown it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: LabelId
    name: str
    probability: Annotated[float, Field(ge=0, le=1)]
    state: Literal["automatic", "assist", "human"]


class GoldDocument(BaseModel):
    """`projects/P/golds/G.json`. Everything beside the answer is what made the image look like any other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = "review"
    """Where it is slipped in."""
    site: str
    case: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    outcome: Literal["labels", "none_of_these", "unusable"] = "labels"
    answers: dict[LabelId, Known] = {}
    """What is known. Labels that are left out count neither way."""
    reasons: tuple[str, ...] = ("none_fired",)
    suggestions: tuple[Suggested, ...] = ()
    """What the model said, best first."""
    prediction: str = ""
    """That it was made from."""
    readers: tuple[str, ...] = ()
    """Who is never given it: they know the image."""
    active: bool = True

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        present = [label for label, answer in self.answers.items() if answer == "present"]
        if self.outcome == "labels" and not self.answers:
            raise ValueError("a gold of outcome 'labels' knows something of at least one label; add it to answers")
        if self.outcome != "labels" and present:
            raise ValueError(f"a gold of outcome {self.outcome!r} has no label present; remove {present[0]!r}")
        return self

    def check(self, labels: LabelSchema) -> None:
        """Raises Invalid where its answers contradict the labels of the project."""
        check_answers(labels, self.outcome, dict(self.answers), None)

    def agrees(self, outcome: Outcome, given: dict[str, Answer]) -> bool | None:
        """Whether a reviewer gave the known answer; None for one who left it to others.

        What is known to be present has to be called present. What is known to be absent may go unmentioned, as people
        answer who are not asked for every label, but neither called present nor left open.
        """
        if outcome == "escalated":
            return None
        if outcome != self.outcome:
            return False
        return all(
            given.get(label) == "present" if known == "present" else given.get(label, "absent") == "absent"
            for label, known in self.answers.items()
        )

    def shown(self) -> tuple[dict[str, Any], ...]:
        return tuple(each.model_dump() for each in self.suggestions)
