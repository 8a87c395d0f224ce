"""From scores to a record: what fires, its route, and for which classes it is read blind. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from model_store.decision import decide
from model_store.prediction import Prediction
from model_store.record import CaseState, PolicySnapshot, PredictionRecord
from triage import policy
from triage.control.opened_site import Site
from triage.promise import audits, drawing

_with = msgspec.structs.replace


def decided(
    record: PredictionRecord, site: Site, scores: Prediction | None, *, control_stale: bool, audit_key: bytes,
    case: CaseState = "",
) -> PredictionRecord:  # fmt: skip
    """The record with scores, what fires, its route, and for which classes it is read blind; which queue it comes to is said by
    `routing.routed`. Pure."""
    if scores is not None and not _of(site, scores):
        scores = None  # another model answered: its scores mean something else
    snapshot = PolicySnapshot(
        mode=site.mode,
        suspended=tuple(sorted(site.suspended)),
        always_review=tuple(sorted(site.document.always_review)),
        available=scores is not None,
        certified_here=scores is not None
        and site.rules is not None
        and policy.certified_here(site.rules, record, scores.provider, scores.precision),
        control_stale=control_stale,
        # An image that no model answered for is judged when one does: its record names no rules yet to explain it by.
        out_of_scope=() if scores is None or site.rules is None else policy.out_of_scope(site.rules, record),
        case=case,
        case_wait_s=site.document.cases.close_after_s if case and site.document.cases else 0.0,
    )
    if scores is None or site.bundle is None or site.rules is None:
        routing = policy.route(snapshot, answerable=False, decision_reasons=(), fires=(), fires_unsuspended=())
        return _with(
            record, policy=snapshot, route=routing.route, reasons=routing.reasons, release=_release(site),
            queue=record.queue if routing.route == "review" else None,
        )  # fmt: skip
    assert site.table is not None
    assert site.table_unsuspended is not None
    probability, typicality = scores.probability[None], np.array([scores.typicality], np.float32)
    outcome = decide(site.table, probability, typicality)
    free = outcome if not snapshot.suspended else decide(site.table_unsuspended, probability, typicality)
    heads = site.table.heads
    fires = tuple(head for head, fired in zip(heads, outcome.fires[0], strict=True) if fired)
    fires_unsuspended = tuple(head for head, fired in zip(heads, free.fires[0], strict=True) if fired)
    routing = policy.route(
        snapshot,
        answerable=bool(outcome.answerable[0]),
        decision_reasons=outcome.reasons(0),
        fires=fires,
        fires_unsuspended=fires_unsuspended,
        answerable_unsuspended=bool(free.answerable[0]),
    )
    unsuspended = policy.without_suspensions(
        snapshot, answerable=bool(free.answerable[0]), decision_reasons=free.reasons(0), fires=fires_unsuspended
    )
    sampled = drawing.sampled(site.table, probability, typicality)
    chance = drawing.chance(
        site.document.audit.chances,
        snapshot,
        routing.route,
        unsuspended.route,
        drawing.claims(site.table, outcome),
        drawing.claims(site.table, free),
        sampled,
        record.origin,
    )
    if chance:
        snapshot = msgspec.structs.replace(snapshot, audit=chance)
        record = _drawn(record, chance, audits.share(audit_key, record.id))
    return _with(
        record,
        policy=snapshot, route=routing.route, reasons=routing.reasons, release=_release(site),
        queue=record.queue if routing.route == "review" else None,
        model=f"{site.bundle.manifest.name}/{site.bundle.manifest.version}", graph=scores.graph,
        bundle=site.bundle.digest, rules=site.rules.digest, provider=scores.provider, precision=scores.precision,
        heads=heads, probability=scores.probability.astype("<f4").tobytes(), typicality=float(scores.typicality),
        embedding=scores.embedding.astype("<f2").tobytes(), fires=fires,
        timings_ms={"decode": scores.decode_ms, "run": scores.run_ms},
        absent=tuple(head for head, absent in zip(heads, outcome.absent[0], strict=True) if absent),
        tell=site.document.tell_automatic and routing.route == "automatic",
    )  # fmt: skip


def _drawn(record: PredictionRecord, chance: dict[str, float], u: float) -> PredictionRecord:
    return _with(record, audit_u=u, audit_probability=max(chance.values()), drawn=audits.drawn(u, chance))


def _of(site: Site, scores: Prediction) -> bool:
    if site.bundle is None:
        return False
    manifest = site.bundle.manifest
    return scores.graph == manifest.graph_digest and scores.probability.size == len(manifest.heads)


def _release(site: Site) -> Literal["champion", "canary"]:
    return "canary" if site.of else "champion"
