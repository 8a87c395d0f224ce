"""How a class's standing goes on: what time, new rules, evidence and operators make of it, as one table. Pure.

alarm        its audits say that its promise is broken
passed       the test for resumption proves it again
failed       ... or does not: another begins, with half the risk and another number of reads
certificate  there is one from newer images than what spoke against the class
end          an operator's override is over
rules        other rules: the same state, its evidence begun anew
suspend      an operator says so, also where a newer certificate has just overcome a suspension
resume       an operator says so, for a time
"""

from __future__ import annotations

import math
from typing import Any, Literal

from triage.ids import new_id
from triage.promise import exact, monitor
from triage.promise.claims import Proof, seen, target
from triage.promise.evidence import Evidence
from triage.promise.standing import ClassStanding, Recall, State

Event = Literal["alarm", "passed", "failed", "certificate", "end", "rules", "suspend", "resume"]

TRANSITIONS: dict[tuple[State, Event], State] = {
    ("watching", "alarm"): "suspended",
    ("watching", "rules"): "watching",
    ("watching", "suspend"): "suspended",
    ("suspended", "passed"): "watching",
    ("suspended", "failed"): "suspended",
    ("suspended", "certificate"): "watching",
    ("suspended", "rules"): "suspended",
    ("suspended", "suspend"): "suspended",
    ("suspended", "resume"): "resumed",
    ("resumed", "alarm"): "suspended",
    ("resumed", "certificate"): "watching",
    ("resumed", "end"): "suspended",
    ("resumed", "rules"): "resumed",
    ("resumed", "suspend"): "suspended",
    ("resumed", "resume"): "resumed",
}


def due(entry: ClassStanding, certificate: Proof, now: int) -> ClassStanding | None:
    """The standing that time or new rules ask for; None when the one there is holds."""
    rule = certificate.rule
    if entry.state != "watching" and entry.overcome(certificate):
        why = "certified with images that came after the suspension"
        return _then(entry, "certificate", certificate, now, why=why)
    if entry.state == "resumed" and entry.over(now):
        return _then(entry, "end", certificate, now, why=f"the time for which {entry.by} resumed it is over")
    if entry.rule == rule:
        return None
    if entry.state == "suspended":
        why = "its rules changed, and their certificate is not from images that came after the suspension"
        return _then(entry, "rules", certificate, now, why=why)
    kept = entry.model_dump(include={"by", "why", "until"}) if entry.state == "resumed" else {}
    return _then(entry, "rules", certificate, now, **kept)


def concluded(entry: ClassStanding, evidence: Evidence, certificate: Proof, now: int) -> ClassStanding:
    """What follows when the epoch's question is answered (`evidence.decided`)."""
    said = {"audits": str(evidence.audits), "errors": str(evidence.errors), "overdue": str(evidence.overdue)}
    if entry.state != "suspended":
        watch = evidence.watch
        assert watch is not None
        last_good = monitor.last_good(watch)
        low, high = monitor.interval(watch)
        after = max(0, entry.since - 1) if last_good is None else last_good
        recalls = (*entry.recalls, Recall(id=new_id(), at=now, rule=entry.rule, after=after))
        found = f"{evidence.errors} of {evidence.audits}"
        said |= {"precision_low": f"{low:.4f}", "precision_high": f"{high:.4f}", "target": str(target(certificate))}
        why = f"{found} audits were errors, more than a precision of {target(certificate)} allows"
        changes = {"suspended_at": now, "last_good": last_good, "recalls": recalls, "evidence": said}
        return _then(entry, "alarm", certificate, now, why=why, **changes)
    delta = _delta(certificate, entry.attempt)
    reads, errors = evidence.audits, evidence.errors
    said |= {"delta": f"{delta:.6g}", "attempt": str(entry.attempt), "target": str(target(certificate))}
    if exact.resumes(reads, errors, target(certificate), delta):
        why = f"{errors} of {reads} blind readings were errors, which proves a precision of {target(certificate)} again"
        return _then(entry, "passed", certificate, now, why=why, evidence=said)
    why = f"{errors} of {reads} blind readings were errors, too many to prove a precision of {target(certificate)}"
    return _then(entry, "failed", certificate, now, why=why, evidence=said)


def by_operator(
    entry: ClassStanding, certificate: Proof, now: int, actor: str, why: str, until: int | None
) -> ClassStanding:
    """Suspended, or with `until` resumed until then, because somebody said so."""
    if until is None:
        at = now if entry.suspended_at is None else entry.suspended_at
        return _then(entry, "suspend", certificate, now, why=why, by=actor, suspended_at=at)
    return _then(entry, "resume", certificate, now, why=why, by=actor, until=until)


def _then(entry: ClassStanding, event: Event, certificate: Proof, now: int, **changes: Any) -> ClassStanding:
    state = TRANSITIONS[entry.state, event]
    begun: dict[str, Any] = {"rule": certificate.rule}
    if state == "suspended":
        attempt = entry.attempt + 1
        reads, allowed = test_of(certificate, attempt) or (None, None)
        begun |= {"attempt": attempt, "reads": reads, "errors_allowed": allowed}
        begun |= {"event": "class_suspended", "journaled": False}
    elif event != "rules":
        begun |= {"event": "class_resumed", "journaled": False}
    return entry.then(state, now, **{**begun, **changes})


def test_of(certificate: Proof, attempt: int) -> tuple[int, int] | None:
    """Reads and most errors of a test that a class as good as it was in certification passes four times in five; None where
    nobody would read so much, or no risk is left to spend: a suspension never fails for want of a way back."""
    hoped = max(seen(certificate), (1 + target(certificate)) / 2)
    delta = _delta(certificate, attempt)
    return exact.reads_for_resume(target(certificate), delta, hoped) if delta > 0 else None


def _delta(certificate: Proof, attempt: int) -> float:
    """The certificate's own risk, half of it for the first attempt, a quarter for the second, ...: all of it in all."""
    return math.ldexp(certificate.level, -attempt)
