"""From the ends of the tests to rules: states, certificates, sampling plans, and what each class lacks."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from model_store.bundle import Bundle
from model_store.certificates import AbsenceCertificate, ground_hash, rule_hash
from model_store.decision import DecisionTable
from model_store.rules import NO_VETO, ClassRule, Rules
from training import lacks, sampling
from training.binomial import lower_bound
from training.images import UNKNOWN
from training.issuing import certificate, particulars
from training.points import unlooked
from training.recipe import Recipe
from training.score import Scores
from training.sequence import Tested, TestedAbsence
from training.tuning import Candidates, Tests


@dataclass(frozen=True)
class Absent:
    """How the tests of one label's absence ended, on a sample with this share of positives."""

    tested: TestedAbsence
    prevalence: float
    npv: float | None
    called: float
    """Share of the images that are called absent."""


@dataclass
class Rulebook:
    """Everything that the rules are written from. `presence` and `absence` hold the claims that were tested."""

    bundle: Bundle
    recipe: Recipe
    trained_on: Mapping[str, int]
    tune: Scores
    evidence: Scores
    table: DecisionTable
    """With the tests' vetoes."""
    tests: Tests
    now: datetime.datetime
    attempt: int = 0
    presence: dict[str, Tested] = field(default_factory=dict)
    absence: dict[str, Absent] = field(default_factory=dict)

    def rules(self) -> Rules:
        """The rules with every certificate that the evidence supports."""
        manifest, knobs = self.bundle.manifest, self.recipe.certification
        vetoes = {
            head: float(veto) if np.isfinite(veto) else NO_VETO
            for head, veto in zip(manifest.heads, self.tests.veto, strict=True)
        }
        ground = ground_hash(
            project=knobs.project,
            bundle=self.bundle.digest,
            labels=manifest.labels.digest,
            typicality_floor=floor(self.bundle),
            conditions=knobs.conditions,
            vetoes={label: vetoes.get(label, NO_VETO) for label in manifest.labels.ids},
        )
        common = particulars(
            knobs, knobs.sites, knobs.provider, manifest.precision, self.evidence, self.now, self.attempt
        )
        column = {head: k for k, head in enumerate(manifest.heads)}
        classes = {}
        for label in manifest.labels.ids:
            if label not in column:
                classes[label] = ClassRule(
                    state="human", lacks=lacks.images(self.trained_on.get(label, 0), self.recipe.data.min_images)
                )
                continue
            made = self._presence(label, column[label], ground, common)
            made |= self._absence(label, column[label], ground, common, made.get("lacks", ""))
            classes[label] = ClassRule(veto=vetoes[label], **made)
        return Rules(
            bundle=self.bundle.digest,
            labels=manifest.labels.digest,
            project=knobs.project,
            sites=knobs.sites,
            provider=knobs.provider,
            precision=manifest.precision,
            typicality_floor=floor(self.bundle),
            conditions=knobs.conditions,
            classes=classes,
        )

    def _presence(self, label: str, k: int, ground: str, common: dict[str, Any]) -> dict[str, Any]:
        tested, tried = self.presence.get(label), self.tests.candidates[k]
        target, level = float(self.tests.target[k]), self.tests.level
        if tested is None or tested.threshold is None:
            drawn = sampling.plan(tried, self.recipe.certification, target, self._later)
            level = self._beside if tested is None else level
            scale = len(self.evidence) / max(len(self.tune), 1)
            said = lacks.presence(tried, tested, target, level, scale) + self._unlooked(tested, tried, k)
            said += sampling.says(drawn, tried, len(self.tune))
            return {"state": "assist", "sampling": drawn, "lacks": said}
        share = tested.firings / len(self.evidence)
        proof = certificate(self.tests, k, tested, ground, label, firing_share=share, **common)
        return {"state": "automatic", "threshold": float(tested.threshold), "certificate": proof}

    @cached_property
    def _beside(self) -> float:
        """The share of delta that a class which is not attempted would have beside those that are."""
        tests = self.tests
        together = self.recipe.certification.absence_delta is None
        claims = int(tests.attempted.sum()) + (int(tests.absence.attempted.sum()) if together else 0)
        return tests.delta / (claims + 1)

    @cached_property
    def _later(self) -> float:
        """The share of delta that each class with a sampling plan will have: that of the next attempt, among all of them."""
        knobs, plan = self.recipe.certification, self.tests
        delta, gather = knobs.delta / 2.0 ** (self.attempt + 1), 0
        for k, label in enumerate(self.bundle.manifest.heads):
            tested = self.presence.get(label)
            lacking = tested is None or tested.threshold is None
            gather += lacking and sampling.hopeful(plan.candidates[k], knobs, float(plan.target[k]), delta)
        return delta / max(gather, 1)

    @cached_property
    def _gaps(self) -> tuple[bool, bool]:
        """Whether the evidence, and the tuning images, have a label that nobody has looked at."""
        return bool((self.evidence.truth == UNKNOWN).any()), bool((self.tune.truth == UNKNOWN).any())

    def _unlooked(self, tested: Tested | None, tried: Candidates, k: int) -> str:
        """Says what the images at the first test were short of labels; of those that tuned, where none was made."""
        if not len(tried.threshold):
            return ""
        seen, gaps = (self.evidence, self._gaps[0]) if tested else (self.tune, self._gaps[1])
        if not gaps:
            return ""
        return lacks.unlooked(unlooked(self.table, seen, k, tried.threshold[tried.start]))

    def _absence(self, label: str, k: int, ground: str, common: dict[str, Any], lacked: str) -> dict[str, Any]:
        found = self.absence.get(label)
        if found is None or found.tested.below is None:
            if not self.tests.absence.wanted[k]:
                return {}
            said = lacks.absent(found.tested if found else None, self.tests.absence, k)
            return {"lacks": f"{lacked}; {said}" if lacked else said}
        plan, tested, below = self.tests.absence, found.tested, float(found.tested.below)
        proof = AbsenceCertificate(
            **common,
            target=plan.target,
            delta=plan.delta,
            attempted=plan.shared_by,
            positives=tested.positives,
            missed=tested.missed,
            bound=1 - lower_bound(tested.positives, tested.missed, plan.level),
            prevalence=found.prevalence,
            npv=found.npv,
            absent_share=found.called,
            rule=rule_hash(ground, "absent", label, below),
        )
        return {"absent_below": below, "absence": proof}


def floor(bundle: Bundle) -> float:
    """The typicality below which nothing answers: what the bundle's gate rejects, 0 without a gate."""
    return bundle.manifest.gate.reject if bundle.manifest.gate else 0.0
