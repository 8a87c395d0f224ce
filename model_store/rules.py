"""Rules: which classes may answer, above which score, and the certificate that says so.

Rules are apart from the bundle, so that recertifying a site changes no weights; they name the bundle they
hold for and are stored under the SHA-256 of their own bytes: `<data>/rules/<hex>.json`.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_store import files
from model_store.certificates import (
    AbsenceCertificate,
    Certificate,
    Claim,
    Digest,
    Precision,
    Provider,
    ground_hash,
    rule_hash,
)  # fmt: skip
from model_store.conditions import Condition
from model_store.errors import DocumentError, document_error
from model_store.manifest import Manifest

ClassState = Literal["automatic", "assist", "human"]
NO_VETO = 2.0
"""Above every probability: this class never stops another from firing."""
ENOUGH = 8
"""Digits of a digest that name rules where no others begin with them."""


class Sampling(BaseModel):
    """How an `assist` class gathers evidence: images on which it would fire from `threshold` are read blind, each with
    `probability`. Drawn so, they are a uniform sample of its firings at every stricter threshold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: Annotated[float, Field(ge=0, le=1)]
    probability: Annotated[float, Field(gt=0, le=1)]
    reads: Annotated[int, Field(ge=1)] | None = None
    """How many cases are read before the class is tested, once and on exactly these; None: it cannot be tested."""


class ClassRule(BaseModel):
    """What one label may do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: ClassState
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    veto: Annotated[float, Field(ge=0, allow_inf_nan=False)] = NO_VETO
    """In an exclusive group, a score at or above it stops every other member from firing, whatever this
    class's state."""
    absent_below: Annotated[float, Field(ge=0, le=1)] | None = None
    """Certified absence: a score below it says the label is absent (independent groups)."""
    certificate: Certificate | None = None
    absence: AbsenceCertificate | None = None
    sampling: Sampling | None = None
    lacks: str = ""
    """For people: what is missing to the next state."""

    @model_validator(mode="after")
    def _automatic_is_proven(self) -> Self:
        if self.state == "automatic" and (self.threshold is None or self.certificate is None):
            raise ValueError("an automatic class needs a threshold and a certificate; certify it or make it assist")
        if self.threshold is not None and self.absent_below is not None and self.absent_below > self.threshold:
            raise ValueError("a score could say present and absent at once; lower absent_below to the threshold")
        if (self.absent_below is None) != (self.absence is None):
            raise ValueError("absent_below and the certificate of absence go together; certify, or remove both")
        if self.certificate is not None and self.threshold is None:
            raise ValueError("a certificate without a threshold proves nothing; certify again")
        if self.sampling is not None and self.state != "assist":
            raise ValueError(
                f"only an assist class gathers evidence by sampling, and this one is {self.state}; remove it"
            )
        return self


class Rules(BaseModel):
    """The rules of one bundle at some sites."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    bundle: Digest
    labels: Digest
    """Digest of the label schema."""
    project: str = "default"
    sites: Annotated[tuple[str, ...], Field(min_length=1)]
    provider: Provider
    precision: Precision
    typicality_floor: Annotated[float, Field(ge=0, le=1)]
    conditions: tuple[Condition, ...] = ()
    """Use conditions: where one fails, nothing is answered. Certificates hold for images that meet them all."""
    classes: dict[str, ClassRule]

    @model_validator(mode="after")
    def _certificates_are_for_these_rules(self) -> Self:
        ground = self.ground
        for label, rule in self.classes.items():
            claims: tuple[tuple[Claim, float | None, Certificate | AbsenceCertificate | None], ...] = (
                ("fires", rule.threshold, rule.certificate),
                ("absent", rule.absent_below, rule.absence),
            )
            for claim, at, found in claims:
                if found is None or at is None:
                    continue
                for what, here in (("provider", self.provider), ("precision", self.precision)):
                    if getattr(found, what) != here:
                        raise ValueError(
                            f"{label} was certified on the {what} {getattr(found, what)} and these rules are for {here}; "
                            "certify on it"
                        )
                strange = sorted(set(self.sites) - set(found.sites))
                if strange:
                    raise ValueError(f"{label} was not certified for the site {strange[0]!r}; certify with its images")
                if found.rule != rule_hash(ground, claim, label, at):
                    raise ValueError(
                        f"{label}'s certificate is of another rule (bundle, threshold, veto, floor or condition differ); "
                        "certify again"
                    )
        return self

    @property
    def ground(self) -> str:
        """`sha256:` of what all certificates of these rules stand on, beside each class's own threshold."""
        return ground_hash(
            project=self.project,
            bundle=self.bundle,
            labels=self.labels,
            typicality_floor=self.typicality_floor,
            conditions=self.conditions,
            vetoes={label: rule.veto for label, rule in self.classes.items()},
        )

    @cached_property
    def valid_until(self) -> datetime.datetime | None:
        """When the first of the certificates ends; None without one. From then on nothing may be answered by these rules."""
        ends = [
            found.valid_until
            for rule in self.classes.values()
            for found in (rule.certificate, rule.absence)
            if found is not None
        ]
        return min(ends, default=None)

    def ended(self, at: datetime.datetime) -> bool:
        """Whether a certificate had ended by then; never of rules without one."""
        return self.valid_until is not None and self.valid_until <= at

    def content(self) -> bytes:
        """The canonical bytes that the digest is of. Defaults stay out: one that a later version adds changes no digest."""
        meaning = {"schema_version": self.schema_version, **self.model_dump(mode="json", exclude_defaults=True)}
        return json.dumps(meaning, indent=1, ensure_ascii=False).encode()

    @cached_property
    def digest(self) -> str:
        """`sha256:` of `content()`. Kept: every record carries it, and a thousand classes take milliseconds."""
        return "sha256:" + hashlib.sha256(self.content()).hexdigest()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """pydantic's, without what was worked out of the original (its digest above all), which it would carry over."""
        copied = super().model_copy(update=update, deep=deep)
        for kept in ("digest", "valid_until"):
            copied.__dict__.pop(kept, None)
        return copied

    def check_fits(self, bundle_digest: str, manifest: Manifest) -> None:
        """Raises DocumentError when these rules are not for this bundle, miss or invent a label, or let two members of an
        exclusive group answer at once.
        """
        if self.bundle != bundle_digest:
            raise DocumentError(
                f"rules {self.digest[:19]} are for the bundle {self.bundle[:19]} and not for "
                f"{manifest.name}/{manifest.version} ({bundle_digest[:19]}); certify this bundle"
            )
        if self.labels != manifest.labels.digest or set(self.classes) != set(manifest.labels.ids):
            raise DocumentError(f"rules {self.digest[:19]} speak of other labels than the bundle; certify this bundle")
        for label, rule in self.classes.items():
            if (rule.state == "human") != (label not in manifest.heads):
                raise DocumentError(
                    f"rules {self.digest[:19]}: {label} is {rule.state} but the bundle has "
                    f"{'a' if label in manifest.heads else 'no'} head for it; certify this bundle"
                )
            exclusive = manifest.labels.group(manifest.labels[label].group).kind == "exclusive"
            if exclusive and rule.threshold is not None and rule.veto > rule.threshold:
                raise DocumentError(
                    f"rules {self.digest[:19]}: {label} answers from {rule.threshold} but stops the others only from "
                    f"{rule.veto}, so that two labels that exclude each other could be answered; certify this bundle"
                )


def assist_rules(bundle_digest: str, manifest: Manifest, provider: Provider, site: str) -> Rules:
    """Rules under which nothing answers: every head suggests. What a site without rules of its own serves
    by."""
    return Rules(
        bundle=bundle_digest,
        labels=manifest.labels.digest,
        sites=(site,),
        provider=provider,
        precision=manifest.precision,
        typicality_floor=0.0,
        classes={
            label: ClassRule(state="assist" if label in manifest.heads else "human", lacks="not certified")
            for label in manifest.labels.ids
        },
    )


def write(data: Path, rules: Rules) -> Path:
    """Stores rules under their digest; writing the same rules twice changes nothing, and mends what was edited between."""
    path, content = path_of(data, rules.digest), rules.content()
    if not path.exists() or path.read_bytes() != content:
        files.replace(path, content)
    return path


def read(path: Path) -> Rules:
    """The rules in a file. Raises DocumentError when it is no rules file or was edited after it was
    written."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}; certify the bundle, or name an existing rules file") from None
    changed = DocumentError(f"{path}: was changed after it was certified (its digest is not its name); certify again")
    if hashlib.sha256(content).hexdigest() != path.stem:
        raise changed
    try:
        rules = Rules.model_validate_json(content)
    except ValidationError as error:
        raise document_error(path, error) from None
    if content != rules.content():  # another spelling, which would have a second digest: its name's and its records'
        raise changed
    return rules


def find(data: Path, digest: str) -> Rules:
    """The rules of a digest (`sha256:<hex>`), or of its first digits, in a data folder. Raises DocumentError."""
    return read(locate(data, digest))


def locate(data: Path, digest: str) -> Path:
    """Where rules lie, by their digest or, where no others begin so, by its first ENOUGH digits or more.

    Raises DocumentError when it is no digest, or the beginning of none or of several.
    """
    digits = digest.removeprefix("sha256:")
    if not re.fullmatch(f"[0-9a-f]{{{ENOUGH},63}}", digits):
        return path_of(data, digest)
    matches = sorted((data / "rules").glob(f"{digits}*.json"))
    if len(matches) > 1:
        raise DocumentError(f"{digest} begins {len(matches)} digests in {data / 'rules'}; give more digits")
    if not matches:
        raise DocumentError(f"{data / 'rules'} holds no rules {digest}; certify a bundle, or name another --data")
    return matches[0]


def path_of(data: Path, digest: str) -> Path:
    """Where rules of a whole digest are kept. Raises DocumentError when it is none."""
    if not re.fullmatch("(sha256:)?[0-9a-f]{64}", digest):  # it may come from a URL and must not become a path
        raise DocumentError(f"{digest[:80]!r} is no digest of rules; give {ENOUGH} or more of its hex digits")
    return data / "rules" / f"{digest.removeprefix('sha256:')}.json"
