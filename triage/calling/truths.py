"""What turned out to be right, from the caller's world: recorded once each, found again beside the prediction."""

from __future__ import annotations

import msgspec

from model_store.labels import LabelSchema
from model_store.record import Answer, TruthRecord
from triage.errors import Invalid
from triage.ids import derived_id, now_us


def truth(
    prediction: str, project: str, labels: LabelSchema, answers: dict[str, Answer], source: str, at: int | None = None
) -> TruthRecord:
    """The record; the same words of the same prediction have the same id. Raises Invalid, naming the label. Pure but for the
    clock."""
    if not answers:
        raise Invalid('a truth says something of at least one label; send answers like {"boot": "present"}')
    unknown = sorted(set(answers) - set(labels.ids))
    if unknown:
        raise Invalid(f"{unknown[0][:80]!r} is no label of this prediction; choose from {', '.join(labels.ids[:20])}")
    for group in labels.groups:
        present = [label for label in labels.members(group.id) if answers.get(label) == "present"]
        if group.kind == "exclusive" and len(present) > 1:
            raise Invalid(f"{present[0]!r} and {present[1]!r} exclude each other; call one of them present")
    said = msgspec.json.encode(sorted(answers.items())).decode()
    return TruthRecord(
        id=derived_id("truth", prediction, source, said), prediction=prediction, project=project, answers=answers,
        source=source, at=now_us() if at is None else at,
    )  # fmt: skip
