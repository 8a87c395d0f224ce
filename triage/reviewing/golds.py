"""Which golds a reviewer is given, when, and how they are made to look like any other image. Pure.

    u = HMAC-SHA256(secret, what is drawn), as a share of one

A reviewer's nth item is a gold when u(queue, reviewer, n) is below the queue's `gold_share`; which of those that the reviewer
was never given says another u, and another, below `wrong_gold_share`, whether a wrong suggestion is shown first. So tests and
replicas draw alike, and nobody can foretell a draw without the secret. An item of a queue with a `blind_share` is blind by a
draw over its own id, for every reader of it.

A gold's id, times and place are those of an image that came just before the oldest that waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_store.labels import LabelSchema
from triage.ids import new_id
from triage.promise.audits import share
from triage.reviewing.gold_document import GoldDocument
from triage.reviewing.item import Item

_BEFORE_US = 2_000_000
"""A gold came at most so long before the image that it is slipped in before."""


def turns(secret: bytes, queue: str, reviewer: str, first: int, count: int, gold_share: float) -> list[int]:
    """Those of the reviewer's next `count` items that are golds, as places among them."""
    return [
        place for place in range(count)
        if gold_share and share(secret, f"gold\0{queue}\0{reviewer}\0{first + place}") < gold_share
    ]  # fmt: skip


def choose(
    secret: bytes, golds: Mapping[str, GoldDocument], seen: Mapping[str, frozenset[str]], reviewer: str
) -> list[str]:
    """The golds that a reviewer was never given and does not know, in the order in which they are."""
    fresh = [
        name for name, gold in golds.items()
        if gold.active and reviewer not in gold.readers and reviewer not in seen.get(name, ())
    ]  # fmt: skip
    return sorted(fresh, key=lambda name: share(secret, f"which gold\0{reviewer}\0{name}"))


def blind(secret: bytes, item: str, blind_share: float) -> bool:
    """Whether an item of a queue with a blind share is read blind."""
    return bool(blind_share) and share(secret, f"blind\0{item}") < blind_share


def disguised(
    secret: bytes, project: str, name: str, gold: GoldDocument, reviewer: str, labels: LabelSchema, oldest: int,
    wrong_share: float, not_by: frozenset[str],
) -> Item:  # fmt: skip
    """The item that a reviewer is given. `oldest`: when the oldest one came that waits, microseconds."""
    back = 1000 + int(_BEFORE_US * share(secret, f"when\0{reviewer}\0{name}"))
    received_at = oldest - back
    suggestions, planted = gold.shown(), ""
    if suggestions and share(secret, f"wrong\0{reviewer}\0{name}") < wrong_share:
        suggestions, planted = _planted(secret, f"{reviewer}\0{name}", gold, labels)
    made = new_id(received_at // 1000)
    return Item(
        id=made, prediction=made, project=project, site=gold.site, case=gold.case, sha256=gold.sha256,
        received_at=received_at, reasons=gold.reasons, suggestions=suggestions, purpose="gold",
        not_by=tuple(sorted(not_by | set(gold.readers))), gold_id=name, planted=planted,
    )  # fmt: skip


def _planted(
    secret: bytes, draw: str, gold: GoldDocument, labels: LabelSchema
) -> tuple[tuple[dict[str, Any], ...], str]:
    """The suggestions with a wrong label first, and that label; unchanged where every label is right.

    The best wrong one that the model suggests takes the first one's probability, and gives it its own.
    """
    shown = [dict(each) for each in gold.shown()]
    wrong = [label for label in labels.ids if gold.answers.get(label) == "absent" or _excluded(gold, labels, label)]
    if gold.outcome != "labels":
        wrong = list(labels.ids)
    if not wrong:
        return tuple(shown), ""
    suggested = [place for place, each in enumerate(shown) if each["id"] in wrong]
    if suggested:
        place = suggested[0]
        shown[0]["probability"], shown[place]["probability"] = shown[place]["probability"], shown[0]["probability"]
        shown[0], shown[place] = shown[place], shown[0]
    else:
        label = min(wrong, key=lambda each: share(secret, f"planted\0{draw}\0{each}"))
        shown[0] |= {"id": label, "name": labels[label].name}
    rest = sorted(shown[1:], key=lambda each: -float(each["probability"]))
    return (shown[0], *rest), str(shown[0]["id"])


def _excluded(gold: GoldDocument, labels: LabelSchema, label: str) -> bool:
    """Whether another label of the same exclusive group is known to be present."""
    group = labels.group(labels[label].group)
    others = set(labels.members(group.id)) - {label}
    return group.kind == "exclusive" and any(gold.answers.get(other) == "present" for other in others)
