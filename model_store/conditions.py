"""Declared use conditions: what has to be known of an image before a class may answer for it.

A certificate holds for the population it was drawn from. What of that population is visible in metadata (modality, view,
age, device) is declared here and checked for every image. What is missing or cannot be read fails: nobody knows that it
would have held.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ALWAYS_RECORDED = frozenset({"view", "role"})
"""Metadata that a gateway records of every image; any other field it has to be told to keep."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
Number = Annotated[float, Field(allow_inf_nan=False)]


class Condition(BaseModel):
    """A predicate on one metadata field: its value is one of a list, or a number in a closed range."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
    one_of: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] | None = None
    """Compared exactly, capitals too."""
    at_least: Number | None = None
    at_most: Number | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        bounded = self.at_least is not None or self.at_most is not None
        if (self.one_of is not None) == bounded:
            raise ValueError(
                f"the condition on {self.field} needs either one_of, or at_least and at_most; give one kind"
            )
        if self.one_of is not None and not self.one_of:
            raise ValueError(f"the condition on {self.field} allows nothing; name the values in one_of")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(
                f"the condition on {self.field} asks for {self.at_least:g} to {self.at_most:g}; swap the two"
            )
        return self

    def holds(self, value: str | None) -> bool:
        """Whether the field's value meets the condition; None, and for a range whatever is no plain decimal, does not."""
        if value is None:
            return False
        if self.one_of is not None:
            return value in self.one_of
        if _NUMBER.fullmatch(value) is None:
            return False
        number = float(value)
        return (self.at_least is None or number >= self.at_least) and (self.at_most is None or number <= self.at_most)

    def told(self) -> str:
        """The condition in words."""
        if self.one_of is not None:
            return f"{self.field} is {' or '.join(self.one_of)}"
        bounds = [f"at least {self.at_least:g}" if self.at_least is not None else ""]
        bounds += [f"at most {self.at_most:g}" if self.at_most is not None else ""]
        return f"{self.field} is {' and '.join(filter(None, bounds))}"


def failing(conditions: Iterable[Condition], metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the fields that are missing, unreadable or outside, each once, in the order of the conditions."""
    failed = (each.field for each in conditions if not each.holds(metadata.get(each.field)))
    return tuple(dict.fromkeys(failed))


def unrecorded(conditions: Iterable[Condition], recorded: Iterable[str]) -> tuple[str, ...]:
    """Names of the fields that a gateway which records only these never sees: such a condition can never be met."""
    known = ALWAYS_RECORDED | set(recorded)
    return tuple(dict.fromkeys(each.field for each in conditions if each.field not in known))
