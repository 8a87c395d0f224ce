"""What the checks of a gate are worth: the rule for *validated*, and in words what was seen and what was not. Pure.

docs/training.md gives the reasons. unlike.py runs the checks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_store.manifest import Gate, GateCheck
from training.wording import share

ENOUGH = 0.8
"""Of noise and of blank images so many have to be rejected, and the mean AUROC has to be so high."""
STRANGERS = 0.7
"""The AUROC that images of strange classes take."""
MUSTS = ("noise", "blank")
"""What shows nothing in any field."""
HELD_OUT = "held_out"
STAND_IN = "prototypes_removed"
"""Says nothing of classes that the network did not learn, and so counts for nothing."""
WORDS = {
    HELD_OUT: "images of kinds it has no class for",
    STAND_IN: "images of a kind it learned, once that kind's prototypes are removed",
    "noise": "noise",
    "blank": "blank images",
    "shuffled": "jumbled images",
    "inverted": "negatives",
    "rotated": "images turned by 90°",
    "blur": "blurred images",
}


def words(name: str) -> str:
    """What a check's images are."""
    return WORDS.get(name, name.replace("_", " "))


def shortfalls(checks: Sequence[GateCheck]) -> tuple[str, ...]:
    """What keeps a gate from counting as validated, a clause each; none when it does."""
    counted = {one.name: one for one in checks if one.name != STAND_IN}
    found = [f"it was not tried on {words(name)}" for name in MUSTS if name not in counted]
    found += [
        f"it stops {share(counted[name].rejected, 0)} of {words(name)}, which should be {share(ENOUGH, 0)}"
        for name in MUSTS
        if name in counted and counted[name].rejected < ENOUGH
    ]
    strange = counted.get(HELD_OUT)
    if strange and strange.auroc < STRANGERS:
        found.append(
            f"it hardly tells {words(HELD_OUT)} from normal ones: AUROC {strange.auroc:.2f}, which should be {STRANGERS:g}"
        )
    mean = float(np.mean([one.auroc for one in counted.values()])) if counted else 1.0
    if mean < ENOUGH:
        found.append(f"the mean AUROC of its checks is {mean:.2f}, which should be {ENOUGH:g}")
    return tuple(found)


def unchecked(checks: Sequence[GateCheck]) -> tuple[str, ...]:
    """What nobody could ask of a gate, a sentence each."""
    if any(one.name == HELD_OUT for one in checks):
        return ()
    return (
        "Held-out classes were not checked: no tuning image has a label without a head. Label some images of other kinds to "
        "know what it does to them.",
    )


def seen(gate: Gate) -> str:
    """A sentence: what the gate was seen to stop, most first; the stand-in is no sight of anything."""
    stopped: dict[str, list[str]] = {}
    for one in sorted(gate.checks, key=lambda one: -one.rejected):
        if one.name != STAND_IN:
            stopped.setdefault(share(one.rejected, 0), []).append(words(one.name))
    if not stopped:
        return "Nobody has seen what the gate stops."
    return f"The gate was seen to stop {'; '.join(f'{much} of {_listed(of)}' for much, of in stopped.items())}."


def _listed(things: Sequence[str]) -> str:
    *first, last = things
    return f"{', '.join(first)} and {last}" if first else last
