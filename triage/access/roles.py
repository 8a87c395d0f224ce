"""Which role may do what, as one table; routes, tests and docs iterate it. Pure.

A grant gives a role for some projects and sites. What is not in the table nobody may do.
"""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["caller", "reviewer", "adjudicator", "manager", "operator", "auditor", "admin"]
Permission = Literal[
    "predict", "predictions.own", "predictions.all", "images", "outcomes", "lease", "adjudicate",
    "queues.read", "queues.manage", "people.manage", "sites.read", "sites.manage", "suspend",
    "log.read", "purge", "keys",
]  # fmt: skip
PERMISSIONS: tuple[Permission, ...] = get_args(Permission)

MEANS: dict[Permission, str] = {
    "predict": "send images, cases and truths",
    "predictions.own": "read what became of one's own images",
    "predictions.all": "read what became of everybody's",
    "images": "see any prediction's image and evidence",
    "outcomes": "listen to finals, corrections and recalls",
    "lease": "take items and answer them",
    "adjudicate": "take what was escalated; amend what others answered",
    "queues.read": "depth, age, rate",
    "queues.manage": "queues, golds, dead letters",
    "people.manage": "who reads what, when and how much; what they got right",
    "sites.read": "documents, models, rules, monitor",
    "sites.manage": "sites, releases, webhooks",
    "suspend": "stop a class, let it answer again, the kill switch",
    "log.read": "records, explanations, recalls",
    "purge": "forget an image or a person; holds",
    "keys": "keys and who is given which role",
}
"""What each lets somebody do; docs/access.md shows it."""

_READ: frozenset[Permission] = frozenset(
    {"predictions.own", "predictions.all", "images", "outcomes", "queues.read", "sites.read", "log.read"}
)
ROLES: dict[Role, frozenset[Permission]] = {
    "caller": frozenset({"predict", "predictions.own", "outcomes"}),
    "reviewer": frozenset({"lease", "queues.read"}),
    "adjudicator": frozenset({"lease", "adjudicate", "queues.read"}),
    "manager": frozenset({"queues.read", "queues.manage", "people.manage", "images", "predictions.all", "outcomes"}),
    "operator": _READ | {"sites.manage", "suspend"},
    "auditor": _READ,
    "admin": frozenset(PERMISSIONS) - {"predict", "lease", "adjudicate"},
}
"""An admin gives others their keys and does their settings; images and answers come from those who answer for them."""
