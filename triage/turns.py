"""How a class's standing goes on: what time, new rules and evidence make of it. Pure.

watching, resumed --alarm--> suspended --test passed--> watching
                             suspended --test failed--> suspended, with half the risk and another number of reads
suspended, resumed --a certificate from newer images--> watching
resumed --its end--> suspended
any --other rules--> the same, its evidence begun anew
"""

from __future__ import annotations

import math

from triage import exact, monitor
from triage.claims import Proof, seen, target
from triage.evidence import Evidence
from triage.ids import new_id
from triage.standing import MONITOR, ClassStanding, Recall


def due(entry: ClassStanding, certificate: Proof, now: int) -> ClassStanding | None:
    """The standing that time or new rules ask for; None when the one there is holds."""
    rule = certificate.rule
    if entry.state != "watching" and entry.overcome(certificate):
        why = "certified with images that came after the suspension"
        return entry.then("watching", now, rule=rule, why=why, event="class_resumed", journaled=False)
    if entry.state == "resumed" and entry.over(now):
        return _suspended(entry, certificate, now, f"the time for which {entry.by} resumed it is over")
    if entry.rule == rule:
        return None
    if entry.state == "suspended":
        return _suspended(
            entry,
            certificate,
            now,
            "its rules changed, and their certificate is not from images that came after the suspension",
        )
    kept = entry.model_dump(include={"by", "why", "until"}) if entry.state == "resumed" else {}
    return entry.then(entry.state, now, rule=rule, **kept)


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
        return _suspended(
            entry, certificate, now, why, suspended_at=now, last_good=last_good, recalls=recalls, evidence=said
        )
    delta = _delta(certificate, entry.attempt)
    reads, errors = evidence.audits, evidence.errors
    said |= {"delta": f"{delta:.6g}", "attempt": str(entry.attempt), "target": str(target(certificate))}
    if exact.resumes(reads, errors, target(certificate), delta):
        why = f"{errors} of {reads} blind readings were errors, which proves a precision of {target(certificate)} again"
        return entry.then("watching", now, why=why, evidence=said, event="class_resumed", journaled=False)
    why = f"{errors} of {reads} blind readings were errors, too many to prove a precision of {target(certificate)}"
    return _suspended(entry, certificate, now, why, evidence=said)


def by_operator(
    entry: ClassStanding, certificate: Proof, now: int, actor: str, why: str, until: int | None
) -> ClassStanding:
    """Suspended, or with `until` resumed until then, because somebody said so."""
    if until is None:
        at = now if entry.suspended_at is None else entry.suspended_at
        return _suspended(entry, certificate, now, why, by=actor, suspended_at=at)
    return entry.then("resumed", now, by=actor, why=why, until=until, event="class_resumed", journaled=False)


def _suspended(entry: ClassStanding, certificate: Proof, now: int, why: str, **changes: object) -> ClassStanding:
    attempt = entry.attempt + 1
    reads, allowed = test_of(certificate, attempt) or (None, None)
    begun = {
        "rule": certificate.rule, "by": MONITOR, "why": why, "attempt": attempt, "reads": reads, "errors_allowed": allowed,
        "event": "class_suspended", "journaled": False,
    }  # fmt: skip
    return entry.then("suspended", now, **{**begun, **changes})


def test_of(certificate: Proof, attempt: int) -> tuple[int, int] | None:
    """Reads and most errors of a test that a class as good as it was in certification passes four times in five; None where
    nobody would read so much, or no risk is left to spend: a suspension never fails for want of a way back."""
    hoped = max(seen(certificate), (1 + target(certificate)) / 2)
    delta = _delta(certificate, attempt)
    return exact.reads_for_resume(target(certificate), delta, hoped) if delta > 0 else None


def _delta(certificate: Proof, attempt: int) -> float:
    """The certificate's own risk, half of it for the first attempt, a quarter for the second, ...: all of it in all."""
    return math.ldexp(certificate.level, -attempt)
