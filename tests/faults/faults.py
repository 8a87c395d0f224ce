"""The faults, in the order of the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from tests.faults import acts
from tests.faults.fault import Fault

PREDICTION: Mapping[str, str] = {
    "the image is stored": "triage.store.blobs:LocalBlobs._name",
    "the image's name is synced": "triage.store.naming:Naming._sync",
    "the model is asked": "triage.classifier.torchserve:TorchServeClassifier.classify",
    "the prediction is decided": "triage.intake:decided",
    "the journal is synced": "triage.journal.segments:SegmentJournal._commit",
    "the item is queued": "triage.index.reviews:RedisReviews.enqueue",
    "the prediction is recorded": "triage.recorder:Recorder.record",
}
VERDICT: Mapping[str, str] = {
    "the lease is given": "triage.index.reviews:RedisReviews.lease",
    "the verdict is accepted": "triage.index.reviews:RedisReviews.answer",
    "the verdict closes its item": "triage.index.verdict_fold:VerdictIndex.close",
    "the verdict is held": "triage.index.verdicts:RedisVerdicts.stands",
    "the verdict leaves": "triage.index.verdict_fold:VerdictIndex.go",
    "the final is told": "triage.index.verdicts:RedisVerdicts.told",
}
AMENDMENT: Mapping[str, str] = {
    "the amendment is accepted": "triage.index.verdicts:RedisVerdicts.amend",
    "the amendment is journaled": "triage.journal.segments:SegmentJournal.begin",
    "the amendment stands": "triage.index.verdicts:RedisVerdicts.stands",
    "the amendment leaves": "triage.index.verdict_fold:VerdictIndex.go",
    "the amended final is told": "triage.index.verdicts:RedisVerdicts.told",
}


def _step(name: str, place: str, when: Literal["before", "after"], about: str) -> Fault:
    born = {"die": place, "when": when, "armed": "{faults}/armed", "about": about}
    return Fault(f"killed {when} {name}", acts.died_at, {0: born})


STEPS = tuple(
    _step(name, place, when, about)
    for about, steps in (("prediction", PREDICTION), ("verdict", VERDICT), ("amendment", AMENDMENT))
    for name, place in steps.items()
    for when in ("before", "after")
)


def _eio(name: str, place: str, restart: bool) -> Fault:
    born = {"fail": place, "errno": "EIO", "while": "{faults}/eio"}
    return Fault(name, acts.while_there("eio", restart=restart), {0: born})


def _clock(name: str, seconds: int) -> Fault:
    return Fault(name, acts.while_there("clock", str(seconds)), {0: {"clock": "{faults}/clock"}})


FAULTS: tuple[Fault, ...] = (
    Fault("gateway killed (SIGKILL)", acts.gateway_killed),
    *STEPS,
    Fault("gateway stopped (SIGSTOP)", acts.gateway_stopped),
    Fault("gateway restarted (SIGTERM)", acts.gateway_drained),
    Fault("gateway's machine lost, its journal kept", acts.machine_lost, models=2),
    Fault("Redis killed and restarted", acts.redis_killed),
    Fault("Redis stopped (SIGSTOP)", acts.redis_stopped),
    Fault("Redis wiped (FLUSHALL)", acts.redis_wiped),
    Fault("Redis rewound", acts.redis_rewound),
    Fault("cable to Redis cut", acts.cables("cut", "redis")),
    Fault("cable to Redis silent", acts.cables("silent", "redis")),
    Fault("model killed", acts.model_killed),
    Fault("model stopped (SIGSTOP)", acts.model_stopped),
    Fault("model slow (3 s)", acts.model_slow),
    Fault("cable to the model cut", acts.cables("cut", "model")),
    Fault("cable to the model silent", acts.cables("silent", "model")),
    Fault("network cut for 3 s", acts.cables("cut", "redis", "model", most=3.0)),
    Fault("control documents away", acts.documents_away, settings={"control_stale_s": "2"}),
    Fault("journal's disk full", acts.journal_disk_full, settings={"journal": "{small}"}),
    Fault("blob store's disk full", acts.blob_disk_full, settings={"blobs": "{small}"}),
    _eio("EIO when the journal writes", "triage.journal.segments:_write_all", restart=True),
    _eio("EIO when the journal syncs", "os:fdatasync", restart=True),
    _eio("EIO when an image is synced", "os:fsync", restart=False),
    _clock("clock jumps an hour ahead", 3600),
    _clock("clock jumps an hour back", -3600),
)
