"""From a passed sequence to a certificate, and from finished rules to what is on disk: the same whatever the evidence was."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_store import rules, signing
from model_store.bundle import Bundle
from model_store.certificates import Certificate, Precision, Provider, rule_hash
from model_store.rules import Rules
from training import ledger, report
from training.binomial import lower_bound
from training.images import fingerprint
from training.recipe import Certification
from training.score import Scores
from training.sequence import Tested
from training.tuning import Tests

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def particulars(
    knobs: Certification,
    sites: tuple[str, ...],
    provider: Provider,
    precision: Precision,
    evidence: Scores,
    now: datetime.datetime,
    attempt: int,
) -> dict[str, Any]:
    """What every certificate on this evidence says alike. now: when the images were spent."""
    return {
        "images": len(evidence),
        "sites": sites,
        "provider": provider,
        "precision": precision,
        "data_fingerprint": fingerprint(evidence.images),
        "attempt": attempt,
        "certified_at": now,
        "valid_until": now + datetime.timedelta(days=knobs.valid_days),
    }


def certificate(tests: Tests, k: int, tested: Tested, ground: str, label: str, **said: Any) -> Certificate:
    """Of head k, whose sequence passed at `tested.threshold`. said: the particulars, and what else the evidence tells."""
    assert tested.threshold is not None
    return Certificate(
        **said,
        target=float(tests.target[k]),
        delta=tests.delta,
        attempted=tests.shared_by,
        firings=tested.firings,
        errors=tested.errors,
        bound=lower_bound(tested.firings, tested.errors, tests.level),
        rule=rule_hash(ground, "fires", label, float(tested.threshold)),
    )


def issue(bundle: Bundle, made: Rules, out: Path, signer: Ed25519PrivateKey, attempt: int, **told: Any) -> None:
    """Writes `<out>/rules/<digest>.json`, its signature, and a report beside the bundle. told: of this kind of evidence."""
    signing.write(rules.write(out, made), signing.sign(made, signer))
    values = {
        "digest": made.digest,
        **told,
        "attempt": attempt,
        "risk": ledger.risk(out, bundle.digest),
        "rules": made.model_dump(mode="json"),
    }
    report.write(bundle, report.of_rules("certificate", made), values)
