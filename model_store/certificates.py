"""Certificates: what was promised of one class, on which evidence, and for exactly which rule.

Two kinds of claim, each at confidence `1 - delta / attempted`:

    Certificate         of the images on which the class fires, one a case, at least `target` are right
    AbsenceCertificate  of the images that show the label, at most `target` are called absent

A certificate checks itself: its `bound` has to follow from its counts by the exact binomial, so none comes from too little
evidence, however it was written. It names the rule that it stands in by `rule`, the hash of everything that decides when that
class fires:

    ground = SHA-256 of canonical JSON: project, bundle digest, digest of the label schema, typicality floor, use conditions,
             every label's veto (so those of the class's whole exclusive group; rules do not know the groups)
    rule   = SHA-256 of canonical JSON: ground, the claim (`fires` or `absent`), the label, its threshold

Canonical JSON has sorted keys and no spaces. Sites, provider and precision are not in the hash, the certificate names them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from model_store.binomial import at_most
from model_store.conditions import Condition

Share = Annotated[float, Field(gt=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Provider = Literal["cpu", "cuda"]
Precision = Literal["fp32", "fp16", "int8"]
Claim = Literal["fires", "absent"]
_ROUNDING = 1e-6
"""Relative: between this tail and the inverse that a bound was computed with."""


class _Evidence(BaseModel):
    """What both kinds of certificate say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Share
    delta: Share
    correction: Literal["bonferroni"] = "bonferroni"
    attempted: Annotated[int, Field(ge=1)]
    """Claims over which delta was shared."""
    bound: Fraction
    images: Annotated[int, Field(ge=1)]
    """Certification images looked at, one a case."""
    sites: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    provider: Provider
    precision: Precision
    rule: Digest
    """Of the rule it stands in, by `rule_hash`."""
    data_fingerprint: str
    certified_at: AwareDatetime
    """When its images were spent: doing the same certification again changes nothing."""
    valid_until: AwareDatetime
    images_from: AwareDatetime | None = None
    """When the earliest of its images came; None where nobody knows (a data set)."""
    attempt: Annotated[int, Field(ge=0)] = 0
    """Certifications of the bundle before this one. Attempt k is tested with `delta / 2**k` of what was asked for, so that all
    together risk less than twice that; `delta` here is what this one was tested with."""

    @property
    def level(self) -> float:
        """Probability with which this one claim may be wrong."""
        return self.delta / self.attempted

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.valid_until <= self.certified_at:
            raise ValueError("it ends before it begins (valid_until); certify again")
        return self


class Certificate(_Evidence):
    """The evidence that of the images on which a class fires, one a case, at least `target` are right.

    `bound` is the exact binomial (Clopper-Pearson) lower bound on precision at confidence `1 - delta /
    attempted`.
    """

    firings: Annotated[int, Field(ge=1)]
    errors: Annotated[int, Field(ge=0)]
    drawn: Literal["all", "firings"] = "all"
    """`all`: the images are a random sample of the stream. `firings`: of the images on which the class fires at some more
    lenient threshold, and `images` counts those; enough for precision, and all there is of a rare class."""
    firing_share: Fraction | None = None
    """About the share of all images that meet the use conditions on which the class fires; None where it is not known."""

    @model_validator(mode="after")
    def _proves_it(self) -> Self:
        if self.bound < self.target:
            raise ValueError(f"the bound is below the target {self.target}; certify again with more data")
        if self.errors > self.firings:
            raise ValueError(f"it counts {self.errors} errors among {self.firings} firings; certify again")
        if self.firings > self.images:
            raise ValueError(f"it counts {self.firings} firings among {self.images} images; certify again")
        if at_most(self.errors, self.firings, 1 - self.bound) > self.level * (1 + _ROUNDING):
            raise ValueError(
                f"{self.errors} errors among {self.firings} firings do not prove a precision of {self.bound:.6g} with "
                f"delta {self.level:.3g}; certify again with more data"
            )
        return self


class AbsenceCertificate(_Evidence):
    """The evidence that a label is overlooked in at most `target` of the images that show it.

    `bound` is the exact upper bound on P(called absent | present). How often an image called absent really lacks the label
    (`npv`) says little on its own: with a rare label a constant "absent" does as well, so it stands beside `prevalence`.
    """

    positives: Annotated[int, Field(ge=1)]
    """Images that show the label."""
    missed: Annotated[int, Field(ge=0)]
    """Of these, called absent."""
    prevalence: Fraction
    """Share of the certification images that show the label."""
    npv: Fraction | None = None
    """Share of the images called absent that lack it; None when none was."""
    absent_share: Fraction | None = None
    """Share of the certification images that are called absent; None where it is not known."""

    @model_validator(mode="after")
    def _proves_it(self) -> Self:
        if self.bound > self.target:
            raise ValueError(f"the bound is above the target {self.target}; certify again with more data")
        if self.missed > self.positives:
            raise ValueError(f"it counts {self.missed} missed among {self.positives} positives; certify again")
        if self.positives > self.images:
            raise ValueError(f"it counts {self.positives} positives among {self.images} images; certify again")
        if at_most(self.missed, self.positives, self.bound) > self.level * (1 + _ROUNDING):
            raise ValueError(
                f"{self.missed} missed among {self.positives} positives do not prove that at most {self.bound:.6g} are "
                f"missed with delta {self.level:.3g}; certify again with more data"
            )
        return self


def ground_hash(
    *,
    project: str,
    bundle: str,
    labels: str,
    typicality_floor: float,
    conditions: Iterable[Condition],
    vetoes: Mapping[str, float],
) -> str:
    """`sha256:` of what all classes of some rules stand on; `vetoes` by label, every label of the rules."""
    return _hash(
        {
            "project": project,
            "bundle": bundle,
            "labels": labels,
            "typicality_floor": float(typicality_floor),
            "conditions": [condition.model_dump(mode="json", exclude_none=True) for condition in conditions],
            "vetoes": {label: float(veto) for label, veto in vetoes.items()},
        }
    )


def rule_hash(ground: str, claim: Claim, label: str, threshold: float) -> str:
    """`sha256:` of everything that decides when `label` fires from (or is absent below) `threshold`."""
    return _hash({"ground": ground, "claim": claim, "label": label, "threshold": float(threshold)})


def _hash(meaning: Mapping[str, object]) -> str:
    canonical = json.dumps(meaning, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
