"""The label schema: which answers exist, and which of them exclude one another."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LabelId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
"""Immutable: a label may be renamed for people, but its id means the same thing forever."""


class Label(BaseModel):
    """One category that an image can be given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: LabelId
    name: Annotated[str, Field(min_length=1, max_length=120)]
    group: LabelId = "main"
    parent: LabelId | None = None
    codes: dict[str, str] = {}
    """Codes in other people's systems, e.g. `{"snomed": "..."}`."""


class Group(BaseModel):
    """Labels that are decided together.

    `exclusive`: exactly one member is true, so one that fires decides the group. `independent`: several may
    be true; `any_present` is decided by one certain finding, `each_decided` only when every member is
    certainly present or absent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: LabelId = "main"
    kind: Literal["exclusive", "independent"] = "exclusive"
    decided_by: Literal["any_present", "each_decided"] = "each_decided"
    required: bool = True


class LabelSchema(BaseModel):
    """All labels of a project, in the order in which people see them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: Annotated[tuple[Label, ...], Field(min_length=1)]
    groups: tuple[Group, ...] = (Group(),)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        ids = [label.id for label in self.labels]
        groups = [group.id for group in self.groups]
        for kind, names in (("label", ids), ("group", groups)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{kind} id {twice[0]!r} stands twice; give each its own")
        for label in self.labels:
            if label.group not in groups:
                raise ValueError(f"label {label.id!r} names the group {label.group!r}; declare it under groups")
            if label.parent is not None and label.parent not in ids:
                raise ValueError(f"label {label.id!r} names the parent {label.parent!r}; declare it under labels")
        self._refuse_circles()
        used = {label.group for label in self.labels}
        for group in self.groups:
            if group.id not in used:
                raise ValueError(f"group {group.id!r} has no label; give it one or remove it")
        if not any(group.required for group in self.groups):
            raise ValueError("no group is required; every image would be answered with nothing; require one")
        return self

    def _refuse_circles(self) -> None:
        parents = {label.id: label.parent for label in self.labels}
        for start in parents:
            seen, at = {start}, parents[start]
            while at is not None:
                if at in seen:
                    raise ValueError(f"label {start!r} stands in a circle of parents; remove one")
                seen.add(at)
                at = parents[at]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(label.id for label in self.labels)

    def __getitem__(self, label_id: str) -> Label:
        for label in self.labels:
            if label.id == label_id:
                return label
        raise KeyError(label_id)

    def group(self, group_id: str) -> Group:
        """Raises KeyError."""
        for group in self.groups:
            if group.id == group_id:
                return group
        raise KeyError(group_id)

    def members(self, group_id: str) -> tuple[str, ...]:
        """Ids of the labels in a group, in schema order."""
        return tuple(label.id for label in self.labels if label.group == group_id)

    @property
    def digest(self) -> str:
        """`sha256:` of the canonical JSON; rules and verdicts name the schema by it.

        Defaults stay out and keys are sorted, so that neither a field that a later version adds nor the order in which
        codes were typed makes another schema of it.
        """
        meaning = self.model_dump(mode="json", exclude_defaults=True)
        canonical = json.dumps(meaning, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
