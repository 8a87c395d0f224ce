"""May a suspended class answer again? Exact binomial, a number of reads fixed in advance, decided once. Pure.

While a class is suspended, a sample of the answers it would have given is read blind. How many reads decide is fixed when
the sampling begins (`reads_for_resume`), and the decision falls once, on all of them: looking at them before, or adding
some after a failure, would let a bad class in sooner or later. After a failure, begin again with new reads. Unreadable and
overdue reads count as errors.
"""

from __future__ import annotations

from model_store.binomial import at_most, fewest_draws

MOST_READS = 10_000
"""Nobody plans to read more blind before one class answers again."""


def resumes(reads: int, errors: int, target: float, delta: float) -> bool:
    """Whether so many errors among so many reads prove precision >= target at confidence 1 - delta (Clopper-Pearson).

    A class whose precision is below the target passes with probability at most delta.
    """
    _check(target, delta)
    return at_most(errors, reads, 1 - target) <= delta


def reads_for_resume(target: float, delta: float, precision: float, chance: float = 0.8) -> tuple[int, int] | None:
    """How many reads to plan, and the most errors among them that pass: the fewest reads with which a class of the given
    precision passes with probability >= `chance`. None where those are more than `MOST_READS`.

    Where a number of errors is allowed, fewer reads pass more easily, so only the fewest reads for each number are tried.
    """
    _check(target, delta)
    if not target < precision <= 1:
        raise ValueError(
            f"A class of precision {precision} cannot be expected to prove {target}: name a precision above the target."
        )
    errors, reads = 0, fewest_draws(0, 1 - target, delta)
    while at_most(errors, reads, 1 - precision) < chance:
        errors += 1
        reads = fewest_draws(errors, 1 - target, delta, above=reads)
        if reads > MOST_READS:
            return None
    return (reads, errors) if reads <= MOST_READS else None


def _check(target: float, delta: float) -> None:
    if not 0 < target < 1 or not 0 < delta < 1:
        raise ValueError(f"Target {target} with delta {delta} cannot be tested: both lie strictly between 0 and 1.")
