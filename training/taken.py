"""Which readings test a class: exactly as many as its plan says, the first in order, one a case. Pure.

The number is fixed in the signed plan before anything is drawn, and nobody can stop when the count looks good or begin where
it does. A test at a size that the data decide proves less than it says.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from training.images import LabelledImage
from training.readings import Reading


@dataclass(frozen=True)
class Taken:
    """The readings that test one class, or what is missing to them."""

    readings: tuple[Reading, ...]
    """As many as the plan says, or as there are; some may be open."""
    reads: int
    """As the plan says."""

    @property
    def settled(self) -> int:
        return sum(each.right is not None for each in self.readings)

    @property
    def missing(self) -> int:
        """Readings without which there is no test: 0 when there can be one."""
        return self.reads - self.settled


def case_of(reading: Reading) -> str:
    """A case of its own where it has none. A case's name means the same within its site."""
    return f"{reading.record.site}/{reading.record.case or reading.record.id}"


def take(found: Sequence[Reading], reads: int, unusable: Collection[str]) -> Taken:
    """The first `reads` cases of readings that are in order of arrival, each with the image of it that was drawn first.

    `unusable`: names of images that may not certify, whatever was read in them; their cases go with them.
    """
    taken: list[Reading] = []
    cases: set[str] = set()
    names: set[str] = set()
    for each in found:
        if len(taken) == reads:
            break
        case, name = case_of(each), each.record.sha256
        if not (case in cases or name in names or name in unusable):
            taken.append(each)
        cases.add(case)
        names.add(name)
    return Taken(tuple(taken), reads)


def image(reading: Reading, label: str, heads: Sequence[str], look: bytes = b"") -> LabelledImage:
    """A settled reading as the ledger knows it; of other labels it says nothing."""
    case = (reading.record.case,) if reading.record.case else ()
    present = frozenset({label} if reading.right else ())
    return LabelledImage(
        reading.record.sha256, case_of(reading), present, frozenset(heads) - {label}, b"", look, also=case
    )
