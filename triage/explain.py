"""Decides a journaled prediction again and says what agrees. Pure but for the catalog's files."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from model_store.decision import Decisions, DecisionTable, decide
from model_store.errors import ModelStoreError
from model_store.record import PredictionRecord, VerdictRecord
from triage import policy
from triage.archive.history import History
from triage.control.catalog import Catalog
from triage.promise import audits, drawing


@dataclass(frozen=True)
class Explanation:
    """What the record says beside what deciding again says; `disagreements` is empty when they agree."""

    record: PredictionRecord
    route: str
    reasons: tuple[str, ...]
    fires: tuple[str, ...]
    absent: tuple[str, ...]
    disagreements: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        return not self.disagreements


def explain(
    record: PredictionRecord, catalog: Catalog, audit_key: bytes | None = None, digest: str | None = None
) -> Explanation:
    """Without the key the number that drew the audit is taken from the record, and what it drew is still checked. With the
    digest of other rules it is decided by those.

    Raises ModelStoreError when the bundle or the rules that decided are not in the data folder any more, or do not belong
    together.
    """
    chance: dict[str, float] = {}
    fires: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    again = record.policy
    if record.policy.available:
        bundle = catalog.bundle(record.model)
        if bundle.digest != record.bundle:
            raise ModelStoreError(
                f"{record.model} is now the bundle {bundle.digest[:19]} and {record.bundle[:19]} decided; "
                "restore that bundle from a backup"
            )
        digest = digest or record.rules
        rules, table = catalog.recorded(digest), catalog.table(record.model, digest)
        again = msgspec.structs.replace(
            record.policy,
            certified_here=policy.certified_here(rules, record, record.provider, record.precision),
            out_of_scope=policy.out_of_scope(rules, record),
        )
        outcome = _decide(table.without(frozenset(record.policy.suspended)), record)
        fires, absent = _named(table, outcome.fires), _named(table, outcome.absent)
        free = _decide(table, record)
        unsuspended = _named(table, free.fires)
        routing = policy.route(
            again, answerable=bool(outcome.answerable[0]), decision_reasons=outcome.reasons(0),
            fires=fires, fires_unsuspended=unsuspended, answerable_unsuspended=bool(free.answerable[0]),
        )  # fmt: skip
        elsewise = policy.without_suspensions(
            again, answerable=bool(free.answerable[0]), decision_reasons=free.reasons(0), fires=unsuspended
        )
        sampled = drawing.sampled(table, record.probabilities()[None], np.array([record.typicality], np.float32))
        chance = drawing.chance(
            drawing.kept(record), again, routing.route, elsewise.route, drawing.claims(table, outcome),
            drawing.claims(table, free), sampled, record.origin,
        )  # fmt: skip
    else:
        routing = policy.route(again, answerable=False, decision_reasons=(), fires=(), fires_unsuspended=())
    u = (audits.share(audit_key, record.id) if audit_key else record.audit_u) if chance else None
    compared = {
        "route": (record.route, routing.route),
        "reasons": (record.reasons, routing.reasons),
        "fires": (record.fires, fires),
        "absent": (record.absent, absent),
        "certified_here": (record.policy.certified_here, again.certified_here),
        "out_of_scope": (record.policy.out_of_scope, again.out_of_scope),
        "audit": (record.policy.audit, chance),
        "audit_u": (record.audit_u, u),
        "audit_probability": (record.audit_probability, max(chance.values(), default=None)),
        "drawn": (record.drawn, () if u is None else audits.drawn(u, chance)),
    }
    disagreements = tuple(
        f"{name}: recorded {before!r}, decided again {again!r}"
        for name, (before, again) in compared.items()
        if before != again
    )
    return Explanation(record, routing.route, routing.reasons, fires, absent, disagreements)


def find(history: History, prediction_id: str) -> tuple[list[PredictionRecord], list[VerdictRecord]]:
    """Every revision of a prediction and every verdict on it, each once and in order, over all journals and the archive."""
    predictions: dict[int, PredictionRecord] = {}
    verdicts: dict[tuple[str, int], VerdictRecord] = {}
    for record in history.records(None, ("predictions", "verdicts"), _came(prediction_id), ("embedding",)):
        if isinstance(record, PredictionRecord) and record.id == prediction_id:
            predictions[record.revision] = record
        elif isinstance(record, VerdictRecord) and record.prediction == prediction_id:
            verdicts[record.id, record.revision] = record
    return (
        [predictions[revision] for revision in sorted(predictions)],
        sorted(verdicts.values(), key=lambda each: (each.at, each.revision)),
    )


def _came(prediction_id: str) -> int:
    """The microsecond before which an image of this id did not come; 0 when the id does not tell."""
    try:
        parsed = uuid.UUID(prediction_id)
    except ValueError:
        return 0
    return 1000 * (parsed.int >> 80) if parsed.version == 7 else 0


def _decide(table: DecisionTable, record: PredictionRecord) -> Decisions:
    return decide(table, record.probabilities()[None], np.array([record.typicality], np.float32))


def _named(table: DecisionTable, mask: Iterable[Iterable[bool]]) -> tuple[str, ...]:
    return tuple(head for head, hit in zip(table.heads, next(iter(mask)), strict=True) if hit)


def summary(explained: list[Explanation], verdicts: list[VerdictRecord], catalog: Catalog) -> dict[str, Any]:
    """The newest decision in words: what each score met, and whether deciding again agrees."""
    newest = explained[-1]
    record = newest.record
    classes = []
    if record.policy.available:
        rules = catalog.recorded(record.rules)
        for head, probability in zip(record.heads, record.probabilities(), strict=True):
            rule = rules.classes[head]
            classes.append(
                {"label": head, "probability": float(probability), "threshold": rule.threshold, "veto": rule.veto,
                 "state": rule.state, "fires": head in newest.fires}
            )  # fmt: skip
    return {
        "id": record.id,
        "image": f"{record.project}/{record.site}/{record.sha256}",
        "route": record.route,
        "reasons": list(record.reasons),
        "model": record.model,
        "bundle": record.bundle,
        "rules": record.rules,
        "provider": record.provider,
        "typicality": record.typicality,
        "policy": msgspec.structs.asdict(record.policy),
        "drawn": list(record.drawn),
        "classes": classes,
        "revisions": len(explained),
        "verdicts": [
            {
                "reviewer": each.reviewer,
                "purpose": each.purpose,
                "reading": each.reading,
                "outcome": each.outcome,
                "answers": each.answers,
            }
            for each in verdicts
        ],
        "agrees": all(each.agrees for each in explained),
        "disagreements": [line for each in explained for line in each.disagreements],
    }
