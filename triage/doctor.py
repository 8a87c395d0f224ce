"""Looks at everything a gateway needs and says what is wrong, each with its mend. Changes nothing."""

from __future__ import annotations

import asyncio
import datetime
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from model_store.errors import ModelStoreError
from triage.archive.archiver import Archiver
from triage.classifier.inprocess import InProcessClassifier
from triage.classifier.torchserve import TorchServeClassifier
from triage.control import validity
from triage.control.catalog import Catalog
from triage.control.opened_site import Site
from triage.control.sites import Control
from triage.errors import SettingsError, TriageError
from triage.index.reviews import RedisReviews
from triage.journal.reading import Damage, closed, nodes, segments, verify
from triage.metrics import Metrics
from triage.ports import Classifier
from triage.settings import Settings
from triage.store.opening import open_documents
from triage.store.places import folder_of, open_objects

_NAMED = 10
"""Damaged places that are named one by one; more are counted."""


@dataclass(frozen=True)
class Finding:
    part: str
    ok: bool
    says: str


async def examine(settings: Settings) -> list[Finding]:
    """One finding a part, in the order in which they depend on one another."""
    findings = [_folder("journal", settings.journal_folder), _place("blobs", settings.blob_place)]
    there = nodes(settings.journal_folder) if settings.journal_folder.is_dir() else []
    findings.append(
        Finding("journals", True, f"{len(there)} with {sum(len(segments(node)) for node in there)} segments")
    )
    findings += await asyncio.to_thread(_damage, there)
    findings.append(await asyncio.to_thread(_log, settings))
    findings += await _redis(settings)
    control = Control(open_documents(settings.control_place), Catalog(settings.data, settings.trusted_folder))
    try:
        control.poll()
        control.judge()
        control.poll()
    except TriageError as error:
        return [*findings, Finding("control documents", False, str(error))]
    findings += [Finding(f"site {name}", False, problem) for name, problem in control.problems.items()]
    if not control.sites and not control.problems:
        findings.append(Finding("sites", False, "none is declared; PUT /v1/projects/default/sites/default"))
    now = datetime.datetime.now(datetime.UTC)
    for site in control.sites:
        model = f"{site.bundle.manifest.name}/{site.bundle.manifest.version}" if site.bundle else "none"
        says = f"{site.mode}, model {model}, rules {site.rules.digest[:19] if site.rules else 'none'}"
        findings.append(Finding(f"site {site.project}/{site.name}", True, says))
        wrong = (
            validity.never_met(site.rules, settings.source_fields),
            validity.elsewhere(site.rules, site.project, site.place),
            validity.expired(site.rules, now),
            validity.expiring(site.rules, now),
            *(_silent(site) if site.document.mode == "live" else ()),
        )
        findings += [Finding(f"site {site.project}/{site.name}", False, says) for says in wrong if says]
    findings += await _models(settings, control)
    return findings


def _silent(site: Site) -> tuple[str, ...]:
    """What of a live site does not answer."""
    if site.document.rules is None:
        return (
            "it is live without rules, so that nothing answers; certify its model and name the rules, or set mode assist",
        )
    if not site.proofs and not site.unwatched:
        says = "no class of its rules is automatic, so that nothing answers; `secondreader report` says what each lacks"
        return (says,)
    return site.told_suspended


def _place(part: str, place: str) -> Finding:
    folder = folder_of(place)
    if folder is not None:
        return _folder(part, folder)
    try:
        next(open_objects(place).list(), None)
    except (TriageError, SettingsError) as error:
        return Finding(part, False, f"{error}; are URL, endpoint and credentials right?")
    return Finding(part, True, f"{place} answers")


def _folder(part: str, folder: Path) -> Finding:
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    try:
        with tempfile.NamedTemporaryFile(dir=nearest) as stream:
            stream.write(b"x")
            os.fsync(stream.fileno())
    except OSError as error:
        return Finding(part, False, f"{folder} cannot be written ({error.strerror}); free space, or mend its owner")
    return Finding(part, True, f"{folder} is writable and syncs")


def _log(settings: Settings) -> Finding:
    """Whether the log can be reached, and takes what is closed here."""
    try:
        archiver = Archiver(open_objects(settings.log_place), settings.journal_folder)
        behind = sum(archiver.unarchived_bytes(folder.name) for folder in nodes(settings.journal_folder))
    except (TriageError, SettingsError) as error:
        return Finding("log", False, str(error))
    return Finding("log", True, f"{settings.log_place} answers; {behind:,} bytes of the journals are not in it yet")


def _damage(folders: list[Path]) -> list[Finding]:
    """What of closed segments cannot be read."""
    told: list[Damage] = []
    for folder in folders:
        for path in segments(folder):
            if closed(path):
                verify(path, told.append)
    shown = [Finding("journals", False, str(each)) for each in told[:_NAMED]]
    if len(told) > _NAMED:
        shown.append(Finding("journals", False, f"and {len(told) - _NAMED} more damaged places"))
    return shown


async def _redis(settings: Settings) -> list[Finding]:
    reviews = RedisReviews(settings.redis_url, settings.redis_timeout_s)
    try:
        info = await reviews.info()
    except TriageError as error:
        return [Finding("redis", False, f"{error}; is TRIAGE_REDIS_URL right?")]
    finally:
        await reviews.close()
    version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    findings = [Finding("redis", version >= (6, 2), f"speaks version {info['redis_version']}; 6.2 or later is needed")]
    if not int(info["aof_enabled"]):
        says = "keeps nothing over a restart, so every restart is a recovery; set appendonly yes"
        findings.append(Finding("redis persistence", False, says))
    return findings


async def _models(settings: Settings, control: Control) -> list[Finding]:
    metrics = Metrics()
    classifier: Classifier
    if settings.classifier == "torchserve":
        classifier = TorchServeClassifier(settings.torchserve_url, settings.classify_timeout_s, 4, 4, metrics)
    else:
        classifier = InProcessClassifier(settings.provider, settings.threads, metrics)
    findings = []
    for bundle in {site.bundle.digest: site.bundle for site in control.sites if site.bundle}.values():
        part = f"model {bundle.manifest.name}/{bundle.manifest.version}"
        try:
            scores = await classifier.classify(bundle.golden().encoded[0], bundle)
            right = scores.graph == bundle.manifest.graph_digest
            says = (
                f"answers on {scores.provider}" if right else "is served with another graph; archive this bundle again"
            )
            findings.append(Finding(part, right, says))
        except (TriageError, ModelStoreError) as error:
            findings.append(Finding(part, False, f"{error}; start TorchServe with this bundle"))
    await classifier.close()
    return findings
