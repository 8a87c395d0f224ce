"""Rules: which classes may answer, above which score, and the certificate that says so.

Rules are apart from the bundle, so that recertifying a site changes no weights; they name the bundle they
hold for and are stored under the SHA-256 of their own bytes: `<data>/rules/<hex>.json`.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_store.errors import DocumentError, document_error
from model_store.manifest import Manifest

ClassState = Literal["automatic", "assist", "human"]
NO_VETO = 2.0
"""Above every probability: this class never stops another from firing."""
Share = Annotated[float, Field(gt=0, lt=1)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Certificate(BaseModel):
    """The evidence that a class's automatic answers are right at least `target` of the time.

    `bound` is the exact binomial (Clopper-Pearson) lower bound on precision at confidence `1 - delta /
    attempted`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Share
    delta: Share
    correction: Literal["bonferroni"] = "bonferroni"
    attempted: Annotated[int, Field(ge=1)]
    """Classes over which delta was shared."""
    firings: Annotated[int, Field(ge=1)]
    errors: Annotated[int, Field(ge=0)]
    bound: Annotated[float, Field(ge=0, le=1)]
    images: Annotated[int, Field(ge=1)]
    """Certification images looked at, one a case."""
    data_fingerprint: str
    certified_at: datetime.datetime

    @model_validator(mode="after")
    def _proves_it(self) -> Self:
        if self.bound < self.target:
            raise ValueError(f"the bound is below the target {self.target}; certify again with more data")
        if self.errors > self.firings:
            raise ValueError(f"it counts {self.errors} errors among {self.firings} firings; certify again")
        if self.firings > self.images:
            raise ValueError(f"it counts {self.firings} firings among {self.images} images; certify again")
        return self


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
    lacks: str = ""
    """For people: what is missing to the next state."""

    @model_validator(mode="after")
    def _automatic_is_proven(self) -> Self:
        if self.state == "automatic" and (self.threshold is None or self.certificate is None):
            raise ValueError("an automatic class needs a threshold and a certificate; certify it or make it assist")
        if self.threshold is not None and self.absent_below is not None and self.absent_below > self.threshold:
            raise ValueError("a score could say present and absent at once; lower absent_below to the threshold")
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
    provider: Literal["cpu", "cuda"]
    precision: Literal["fp32", "fp16", "int8"]
    typicality_floor: Annotated[float, Field(ge=0, le=1)]
    classes: dict[str, ClassRule]

    def content(self) -> bytes:
        """The canonical bytes that the digest is of. Defaults stay out: one that a later version adds changes no digest."""
        meaning = {"schema_version": self.schema_version, **self.model_dump(mode="json", exclude_defaults=True)}
        return json.dumps(meaning, indent=1, ensure_ascii=False).encode()

    @cached_property
    def digest(self) -> str:
        """`sha256:` of `content()`. Kept: every record carries it, and a thousand classes take milliseconds."""
        return "sha256:" + hashlib.sha256(self.content()).hexdigest()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """pydantic's, without the digest of the original, which it would carry over."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("digest", None)
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


def assist_rules(bundle_digest: str, manifest: Manifest, provider: Literal["cpu", "cuda"], site: str) -> Rules:
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
    """Stores rules under their digest; writing the same rules twice changes nothing."""
    path = data / "rules" / f"{rules.digest.removeprefix('sha256:')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_bytes(rules.content())
        partial.rename(path)
    return path


def read(path: Path) -> Rules:
    """The rules in a file. Raises DocumentError when it is no rules file or was edited after it was
    written."""
    try:
        content = path.read_bytes()
        rules = Rules.model_validate_json(content)
    except ValidationError as error:
        raise document_error(path, error) from None
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}; certify the bundle, or name an existing rules file") from None
    if content != rules.content() or rules.digest != f"sha256:{path.stem}":
        raise DocumentError(f"{path}: was changed after it was certified (its digest is not its name); certify again")
    return rules


def find(data: Path, digest: str) -> Rules:
    """The rules of a digest (`sha256:<hex>`) in a data folder. Raises DocumentError."""
    if not re.fullmatch("(sha256:)?[0-9a-f]{64}", digest):  # it may come from a URL and must not become a path
        raise DocumentError(f"{digest[:80]!r} is no digest of rules; give sha256: and 64 hex digits")
    return read(data / "rules" / f"{digest.removeprefix('sha256:')}.json")
