"""Cases: images that belong together are decided together. Pure.

A site that says `cases` in its document answers no image of a case before the case closes: by call, or some time after its last
image. Then

* every image that asks for an answer (`role` is `current`; priors are only there to compare with) is decided by itself;
* the case **answers** when each of them would be answered and no two contradict: in an exclusive group all that fire name the
  same label, and no label is present in one image and certified absent in another;
* else people read all of its images, also those that would have been answered alone: one finding that nobody is sure of makes
  every other answer of the case a half of one.

A late image opens the case again, and it is decided anew with all of its images. What people answered stays answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from model_store.labels import LabelSchema
from model_store.record import PredictionRecord


class CasePolicy(BaseModel):
    """How a site decides the images of a case together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    close_after_s: Annotated[float, Field(gt=0, le=7 * 86_400)] = 300.0
    """Seconds after its last image at which a case closes by itself."""
    max_images: Annotated[int, Field(ge=1, le=1000)] = 100
    """More are refused: a caller that forgot to change its case number would collect images without end."""


def asks(record: PredictionRecord) -> bool:
    """Whether an answer is wanted for an image of a case."""
    return record.role == "current"


def answers(alone: Sequence[PredictionRecord], labels: LabelSchema) -> bool:
    """Whether a case answers, from what each image that asks would be given by itself."""
    return all(record.route == "automatic" for record in alone) and not contradictions(alone, labels)


def contradictions(alone: Sequence[PredictionRecord], labels: LabelSchema) -> list[str]:
    """The labels that one image of the case answers and another denies, sorted."""
    fired = {label for record in alone for label in record.fires}
    denied = {label for record in alone for label in record.absent}
    found = fired & denied
    for group in labels.groups:
        named = fired & set(labels.members(group.id))
        if group.kind == "exclusive" and len(named) > 1:
            found |= named
    return sorted(found)
