"""What a class's audits say, draw by draw, and what has to happen then. Pure.

A draw counts for an epoch when it came in it, under its rule, and as its state has it: audits of answers while the class is
watched or resumed, would-be answers while it is suspended; and of a case, whose images are right or wrong together, only the
first. Other draws are set aside, whatever is read of them. The head of the line waits until it is read or overdue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from triage.promise import audits, monitor
from triage.promise.audit_policy import AuditPolicy
from triage.promise.audits import Draw
from triage.promise.bets import Promise
from triage.promise.standing import ClassStanding


class Evidence(msgspec.Struct, frozen=True):
    """Of one epoch; stored as MessagePack, less than a kilobyte however long the history."""

    epoch: int
    rule: str
    watch: monitor.State | None = None
    """While the class is suspended, as it was when it last answered."""
    suspended: bool = False
    """The counts are those of a test for resumption, and the watch stands still."""
    audits: int = 0
    errors: int = 0
    """Overdue ones among them."""
    overdue: int = 0

    def pack(self) -> bytes:
        return msgspec.msgpack.encode(self)


_decoder = msgspec.msgpack.Decoder(Evidence)


def unpack(body: bytes | None) -> Evidence | None:
    return _decoder.decode(body) if body else None


def goes_on(found: Evidence | None, entry: ClassStanding, promise: Promise) -> bool:
    """Whether evidence is of this epoch and, where the class answers, of what is promised now."""
    if found is None or (found.epoch, found.rule) != (entry.epoch, entry.rule):
        return False
    return found.suspended or (found.watch is not None and found.watch.promise == promise)


def kept(found: Evidence | None, entry: ClassStanding, promise: Promise) -> monitor.State | None:
    """The watch that the next epoch goes on with: of the same rule and, once the class answers, of the same promise. With a
    fresh start in each epoch there would be a claim for each, and all of them together would promise nothing."""
    if found is None or found.rule != entry.rule or found.watch is None:
        return None
    return found.watch if entry.state == "suspended" or found.watch.promise == promise else None


def begin(entry: ClassStanding, watch: monitor.State | None) -> Evidence:
    """An epoch's evidence before its first draw. `watch`: what is `kept`, else a start where the class answers."""
    if entry.state == "suspended":
        return Evidence(entry.epoch, entry.rule, watch, suspended=True)
    return Evidence(entry.epoch, entry.rule, watch and monitor.restart(watch))


@dataclass
class Taken:
    """Draws that left the line, and the evidence afterwards."""

    evidence: Evidence
    draws: dict[str, str] = field(default_factory=dict)
    """Prediction -> the case that it counted for, '' when it did not count."""
    results: Counter[audits.Result] = field(default_factory=Counter)


def take(
    evidence: Evidence, entry: ClassStanding, draws: Iterable[Draw], policy: AuditPolicy, now: int, born: int
) -> Taken:
    """Takes draws from the head of the line until one is not decided yet, or the epoch's question is answered.

    `born` is when the index was made (again): until it has had time to be whole, nothing is overdue, since a reading may
    still come from another gateway's journal.
    """
    taken, cases = Taken(evidence), set[str]()
    for draw in draws:
        if counts(draw, entry) and not draw.again and draw.case not in cases:
            if decided(taken.evidence, entry):
                break
            found = result(draw, entry, policy, now, born)
            if found is None:
                break
            taken.evidence = after(taken.evidence, found, draw.at)
            taken.results[found] += 1
            taken.draws[draw.prediction] = draw.case
            cases.add(draw.case)
        else:
            taken.draws[draw.prediction] = ""
    return taken


def counts(draw: Draw, entry: ClassStanding) -> bool:
    """Whether a draw belongs to the epoch."""
    suspended = entry.state == "suspended"
    return draw.rule == entry.rule and draw.at >= entry.since and draw.suspended == suspended


def result(draw: Draw, entry: ClassStanding, policy: AuditPolicy, now: int, born: int) -> audits.Result | None:
    """A reading that came too late is none: what is overdue stays so, whoever counts it and whenever."""
    wait = round(policy.overdue_hours * 3.6e9)
    first, second = (each if each and each.at <= draw.at + wait else None for each in draw.readings)
    return audits.result(
        draw.label,
        first and first.doubts,
        second and second.doubts,
        second_reader=first is None or first.second_reader,
        overdue=now > max(draw.at, born) + wait,
    )


def after(evidence: Evidence, found: audits.Result, at: int) -> Evidence:
    wrong = found != "right"
    watch = evidence.watch
    if watch is not None and not evidence.suspended:
        watch = monitor.update(watch, wrong, at)
    return msgspec.structs.replace(
        evidence,
        watch=watch,
        audits=evidence.audits + 1,
        errors=evidence.errors + wrong,
        overdue=evidence.overdue + (found == "overdue"),
    )


def decided(evidence: Evidence, entry: ClassStanding) -> bool:
    """Whether the epoch's question is answered: the alarm is given, or the test has all its reads."""
    if entry.state == "suspended":
        return entry.reads is not None and evidence.audits >= entry.reads
    return evidence.watch is not None and evidence.watch.alarmed
