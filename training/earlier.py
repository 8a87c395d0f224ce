"""What the use-ledger settles about the images of a data set before they are split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from model_store.bundle import Bundle
from training import ledger
from training.acts import Act, case_keys, read
from training.images import LabelledImage
from training.recipe import Recipe

_SPENT = "spent"
_STRICT = (_SPENT, "train", "tune", "test", "certify")
"""Where images of one group were used differently, the first of these holds for all of them."""


@dataclass(frozen=True)
class Settled:
    """Group -> split, for the groups that have one."""

    splits: dict[str, str] = field(default_factory=dict)
    spent: int = 0
    """Images that only train because they, or what they belong together with, have certified."""
    again: frozenset[str] = frozenset()
    """Names of the images of a certification that is about to be done again; empty when there is none."""
    tuned: frozenset[str] = frozenset()
    """And of those that chose its thresholds."""


def settle(data: Path | None, images: Sequence[LabelledImage], recipe: Recipe, bundle: Bundle | None) -> Settled:
    """Reads the ledger of a data folder; the images know their groups. Raises DataError for a ledger that was changed."""
    acts = read(data) if data else []
    if not acts:
        return Settled()
    of = ledger.of_bundle(bundle, recipe) if bundle else {}
    again = _again(acts, images, of) if bundle else None
    tuned = [act for act in acts if act.purpose == "tune" and again and ledger.same_promise(act, again.of)]
    if bundle:  # what another model's training made of an image comes second; the sort is stable
        acts = sorted(acts, key=lambda act: act.of.get("training") == of["training"])
    states: dict[str, str] = {}
    for image, found in zip(images, _uses(acts, images, recipe.data.near_duplicates), strict=True):
        ranks = [_STRICT.index(each) for each in (*found, states.get(image.group, "")) if each]
        if ranks:
            states[image.group] = _STRICT[min(ranks)]
    names = frozenset(again.names if again else ())
    states |= {image.group: "certify" for image in images if image.name in names}
    return Settled(
        {group: "train" if state == _SPENT else state for group, state in states.items()},
        sum(states.get(image.group) == _SPENT for image in images),
        names,
        frozenset(name for act in tuned for name in act.names),
    )


def _again(acts: Sequence[Act], images: Sequence[LabelledImage], of: Mapping[str, str]) -> Act | None:
    """The last certification of this bundle with this promise whose images are all here."""
    here = {image.name for image in images}
    for act in reversed(acts):
        if act.spends and "rules" not in act.of and ledger.same_promise(act, of) and here.issuperset(act.names):
            return act
    return None


def _uses(acts: Sequence[Act], images: Sequence[LabelledImage], radius: int) -> list[tuple[str, str, str]]:
    """What each image was for, last: the image itself, its case, one that looks the same; empty where nothing is known."""
    names: dict[str, str] = {}
    cases: dict[str, str] = {}
    alike: dict[int, str] = {}
    for act in acts:
        use = _SPENT if act.spends else act.purpose
        for table, keys in ((names, act.names), (cases, act.cases)):
            for key in keys:
                if table.get(key) != _SPENT:
                    table[key] = use
    known = [image.name in names or not cases.keys().isdisjoint(case_keys(image)) for image in images]
    strange = [index for index, each in enumerate(known) if not each]
    for act in acts:  # the others are joined with what they look like, if that is still there
        for found in ledger.near(act, [images[index] for index in strange], radius):
            if alike.get(strange[found]) != _SPENT:
                alike[strange[found]] = _SPENT if act.spends else act.purpose
    return [
        (names.get(image.name, ""), cases.get(case_keys(image)[0], ""), alike.get(index, ""))
        for index, image in enumerate(images)
    ]
