"""`/v1/projects/P/sites/S/monitor`: how well each class keeps its promise; and an operator's word on it."""

from __future__ import annotations

import asyncio
import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from triage.answers import when
from triage.auditing.suspensions import entry_of
from triage.control.opened_site import Site
from triage.index.audits import Class, RedisAudits
from triage.parts import Parts
from triage.promise import evidence, monitor
from triage.promise.claims import is_absence, label_of, target
from triage.promise.evidence import Evidence
from triage.promise.exposure import exposures
from triage.promise.standing import ClassStanding
from triage.reviewing.item import queue_of
from triage.routes.doors import named, permits, who
from triage.routes.replies import json_reply
from triage.schemas import Problem

router = APIRouter(prefix="/v1/projects/{project}/sites/{site}", tags=["monitor"])
_SUSPENDS = [Depends(permits("suspend"))]
_SAID: dict[int | str, dict[str, Any]] = {404: {"model": Problem}, 409: {"model": Problem}, 422: {"model": Problem}}


class Word(BaseModel):
    """What an operator says, and for which reason; both go into the journal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Annotated[str, Field(max_length=500)] = ""
    actor: Annotated[str, Field(max_length=120)] = ""
    """Who decides so, where a program says it that may name others; left out: whoever asks."""


class TimedWord(Word):
    hours: float = 24.0
    """Afterwards the class is suspended again, unless evidence has brought it back."""


@router.get(
    "/monitor", responses={404: {"model": Problem}, 503: {"model": Problem}},
    dependencies=[Depends(permits("sites.read"))],
)  # fmt: skip
async def show(request: Request, project: str, site: str) -> Response:
    """Each automatic class and each certified absence: its state, its audits, the precision they leave plausible, and how long
    a fault would go unseen."""
    parts: Parts = request.app.state.parts
    found = parts.control.site(project, site)
    exposed = await asyncio.to_thread(exposures, found.proofs, found.document.audit)
    audits, classes = RedisAudits(parts.reviews), [Class(site, label) for label in found.proofs]
    queue = queue_of(project)
    pending = await audits.waiting(queue, classes) if classes else []
    stored = await audits.evidence(queue, classes) if classes else []
    rows = [
        {
            **_row(found, of.label, evidence.unpack(each.body)), "pending": waiting,
            "days_to_detect": exposed[of.label].told(),
        }
        for of, each, waiting in zip(classes, stored, pending, strict=True)
    ]  # fmt: skip
    return json_reply(
        {"project": project, "site": site, "mode": found.mode, "classes": rows, "unwatched": found.unwatched}
    )


@router.post("/classes/{label}/suspend", responses=_SAID, dependencies=_SUSPENDS)
async def suspend(request: Request, project: str, site: str, label: str, body: Word) -> Response:
    """The class answers no more at this site, until its would-be answers prove it right again or somebody resumes it."""
    return await _override(request, project, site, label, body, None)


@router.post("/classes/{label}/resume", responses=_SAID, dependencies=_SUSPENDS)
async def resume(request: Request, project: str, site: str, label: str, body: TimedWord) -> Response:
    """The class answers for `hours`. Its audits go on, and an alarm suspends it again before."""
    return await _override(request, project, site, label, body, body.hours)


async def _override(request: Request, project: str, site: str, label: str, body: Word, hours: float | None) -> Response:
    parts: Parts = request.app.state.parts
    found = parts.control.site(project, site)
    await parts.suspensions.override(found, label, named(who(request), body.actor, "actor"), body.reason, hours)
    return json_reply(_row(parts.control.site(project, site), label, None))


def _row(site: Site, label: str, found: Evidence | None) -> dict[str, object]:
    proof, entry = site.proofs[label], entry_of(site, label)
    if entry is None:
        entry = ClassStanding(state="watching", rule=proof.rule)
    if found is None or (found.epoch, found.rule) != (entry.epoch, entry.rule):
        found = Evidence(entry.epoch, entry.rule)
    silent = label in site.suspended
    return {
        "label": label, "name": site.labels[label_of(label)].name, "claim": "absent" if is_absence(label) else "present",
        "target": target(proof), "rule": proof.rule,
        "state": "suspended" if silent else "resumed" if entry.state == "resumed" else "answering",
        "by": "document" if label in site.document.suspended else entry.by, "why": entry.why,
        "since": when(entry.since) if entry.since else None, "until": when(entry.until) if entry.until else None,
        "epoch": entry.epoch, "audits": found.audits, "errors": found.errors, "overdue": found.overdue,
        **_watched(found), "test": _test(entry, found) if entry.state == "suspended" else None,
        "returns": _returns(site, label, entry, silent),
        "last_good": when(entry.last_good) if entry.last_good else None, "recall": entry.recall.id if entry.recall else None,
    }  # fmt: skip


def _watched(found: Evidence) -> dict[str, object]:
    """The confidence sequence of the current precision, and how near the stakes are to the alarm (1: it is given)."""
    watch = found.watch
    if watch is None or found.suspended:
        return {"precision": None, "alarm": None}
    low, high = monitor.interval(watch)
    stakes = math.fsum(watch.stakes)
    return {
        "precision": {"low": low, "high": high},
        "alarm": {"stakes": stakes, "threshold": watch.threshold, "near": min(1.0, stakes / watch.threshold)},
    }


def _returns(site: Site, label: str, entry: ClassStanding, silent: bool) -> str | None:
    """How a class that does not answer comes back, and why what was done meanwhile did not bring it back."""
    if not silent:
        return None
    if label in site.document.suspended:
        return "the site's document suspends it; take it out of 'suspended' there"
    if entry.state != "suspended":
        return None  # an override has just ended, or the standing cannot be read, of which /readyz tells
    return "; ".join(each for each in (entry.unmoved(site.proofs[label]), entry.returns) if each)


def _test(entry: ClassStanding, found: Evidence) -> dict[str, object]:
    return {
        "reads": found.audits, "needed": entry.reads, "errors": found.errors, "errors_allowed": entry.errors_allowed,
        "attempt": entry.attempt,
    }  # fmt: skip
