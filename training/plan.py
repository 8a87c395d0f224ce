"""What promises cost: share answered, errors, people at the queue, money. Reads tuning images, never certification ones.

promises.py says what each promise would answer, queueing.py how many people the rest takes. What reaches people is every image
that is not answered and, blind, a share of those that are (audits).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from model_store.bundle import Bundle
from model_store.errors import DocumentError
from training import data, report
from training.errors import DataError
from training.progress import bar
from training.promises import Estimate, Promise, simulate
from training.queueing import people_needed
from training.recipe import Recipe
from training.score import score
from training.splits import one_per_case

TARGETS = (0.90, 0.95, 0.98, 0.99)
DRAWS = 40


@dataclass(frozen=True)
class Work:
    """What arrives and who reads it."""

    rate: float = 100.0
    """Images an hour, on average."""
    peak: float = 2.0
    """The busiest hour over the average one."""
    hours: float = 24.0
    """Hours a day in which images arrive."""
    seconds: float = 20.0
    """A person takes for one image."""
    wait: float = 15.0
    """Minutes within which `within` of the images find a reader, also in the busiest hour."""
    within: float = 0.95
    audits: float = 0.05
    """Share of the automatic answers that a person reads too; as much as a site audits that does not say."""
    wage: float | None = None
    """Money for an hour of reading."""
    cost_per_error: float | None = None
    """Money lost by a wrong automatic answer."""

    def __post_init__(self) -> None:
        more_than_none = {"rate": self.rate, "seconds": self.seconds, "hours": self.hours}
        for name, value in more_than_none.items():
            if not value > 0 or value == float("inf"):
                raise DocumentError(f"{name} = {value:g}: give a number above 0")
        for name, value in {
            "wait": self.wait,
            "wage": self.wage or 0,
            "cost-per-error": self.cost_per_error or 0,
        }.items():
            if not 0 <= value < float("inf"):
                raise DocumentError(f"{name} = {value:g}: give 0 or more")
        if not 1 <= self.peak < float("inf"):
            raise DocumentError(f"peak = {self.peak:g}: the busiest hour is at least an average one; give 1 or more")
        if self.hours > 24:
            raise DocumentError(f"hours = {self.hours:g}: a day has 24; give fewer")
        if not 0 < self.within < 1:
            raise DocumentError(
                f"within = {self.within:g}: give a share between 0 and 1; all of them takes endless people"
            )
        if not 0 <= self.audits <= 1:
            raise DocumentError(f"audits = {self.audits:g}: give a share from 0 to 1")


@dataclass(frozen=True)
class Costs:
    """A day, when a share of the images is answered."""

    to_people: float
    """Share of all images that people read."""
    people: int
    """Needed in the busiest hour."""
    reading_hours: float
    """A day, of all of them together."""
    errors: float
    """Wrong automatic answers a day."""
    money: float | None
    """A day: reading at the wage, and errors if they cost; None without a wage."""


@dataclass(frozen=True)
class Row:
    """One promise with what it costs. `few` and `many` are the people needed at the bounds of the share answered."""

    promise: Promise
    costs: Costs
    few: int
    many: int


@dataclass(frozen=True)
class Plan:
    """A grid of promises, and reading everything to compare them with."""

    images: int
    """That will certify."""
    tune: int
    """Images foretold from."""
    draws: int
    work: Work
    nothing_automatic: Costs
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def costs(work: Work, share: float, errors_per_thousand: float) -> Costs:
    """What a share of automatic answers leaves to people. Pure."""
    to_people = 1 - share + share * work.audits
    a_day = work.rate * work.hours
    hours = a_day * to_people * work.seconds / 3600
    wrong = a_day * share * errors_per_thousand / 1000
    money = None if work.wage is None else hours * work.wage + wrong * (work.cost_per_error or 0)
    people = people_needed(work.rate * work.peak * to_people, work.seconds, 60 * work.wait, work.within)
    return Costs(to_people, people, hours, wrong, money)


def row(work: Work, promise: Promise) -> Row:
    """A promise with its costs. Pure."""
    errors = (promise.errors or Estimate(0, 0, 0)).mean
    high, low = (costs(work, share, errors).people for share in (promise.share.low, promise.share.high))
    return Row(promise, costs(work, promise.share.mean, errors), low, high)


def check(images: int | None, draws: int) -> None:
    """Raises DocumentError for what nobody can foretell from."""
    if images is not None and images < 1:
        raise DocumentError(f"images = {images}: give the number of images that will be labelled to certify, 1 or more")
    if draws < 1:
        raise DocumentError(f"draws = {draws}: give 1 or more")


def run(
    bundle: Bundle,
    recipe: Recipe,
    out: Path,
    work: Work,
    targets: Sequence[float] = TARGETS,
    deltas: Sequence[float] = (),
    images: int | None = None,
    draws: int = DRAWS,
) -> Plan:
    """Scores the tuning images, foretells each promise and writes plan.json beside the bundle. out: the data folder.

    Of the certification images it takes their number alone, where `images` does not say how many there will be.
    Raises a ModelStoreError for everything its caller can mend.
    """
    check(images, draws)
    dataset = data.load(recipe, out, bundle)
    images = images or len(one_per_case(dataset.parts["certify"], recipe.seed))
    if not images:
        raise DataError("no certification image is there to plan for; add some, or say with --images how many will be")
    tune = score(bundle, one_per_case(dataset.parts["tune"], recipe.seed), recipe.certification.provider, "tuning")
    grid = list(product(targets, deltas or (recipe.certification.delta,)))
    with bar("planning", len(grid) * draws) as advance:
        rows = tuple(row(work, simulate(bundle, recipe, tune, images, promise, draws, advance)) for promise in grid)
    made = Plan(images, len(tune), draws, work, costs(work, 0.0, 0.0), rows)
    report.write(bundle, "plan", made.to_dict())
    return made
