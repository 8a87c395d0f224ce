"""What an answer claims, label by label, and what was promised of each claim. Pure.

    red           the label is present: the class fires
    absent:red    it is absent, by a certificate of absence

Both are drawn, read, weighed, suspended and recalled alike. A class promises that so many of its firings are right. A
certificate of absence bounds something else, P(called absent | present), of which answers tell nothing: who is asked about
an answer cannot know what became of the other images that show the label. What answers can break is its consequence,

    P(present | called absent) <= bound * prevalence / absent_share

with the certificate's upper bound on the first, and the shares of images that show the label and that are called absent as
certification saw them (Bayes' rule). That is the error promised of a claim of absence. It is broken when labels are
overlooked more often than certified, and also where a label has become so common that as good a rule lets more of it through:
then, too, what was certified does not describe the site any more.
"""

from __future__ import annotations

from model_store.certificates import AbsenceCertificate, Certificate
from model_store.decision import ABSENT
from model_store.rules import Rules

Proof = Certificate | AbsenceCertificate


def absent(label: str) -> str:
    """The claim that a label is absent."""
    return ABSENT + label


def label_of(claim: str) -> str:
    return claim.removeprefix(ABSENT)


def is_absence(claim: str) -> bool:
    return claim.startswith(ABSENT)


def error(proof: Proof) -> float | None:
    """The largest share of wrong claims that is promised; None where a certificate of absence does not tell."""
    if isinstance(proof, Certificate):
        return round(1 - proof.target, 9)
    if not proof.absent_share:
        return None
    found = round(proof.bound * proof.prevalence / proof.absent_share, 9)
    return found if 0 < found < 1 else None


def target(proof: Proof) -> float:
    """The smallest share of right claims that is promised, of a proof whose `error` is known."""
    if isinstance(proof, Certificate):
        return proof.target
    promised = error(proof)
    assert promised is not None
    return round(1 - promised, 9)


def seen(proof: Proof) -> float:
    """The share of right claims in certification, had there been one error more."""
    if isinstance(proof, Certificate):
        return 1 - (proof.errors + 1) / (proof.firings + 1)
    return 1 - (proof.missed + 1) / ((proof.absent_share or 0) * proof.images + 1)


def share(proof: Proof) -> float | None:
    """About the share of images of which the claim is made; None where it is not known."""
    if isinstance(proof, AbsenceCertificate):
        return proof.absent_share
    if proof.firing_share is None and proof.drawn == "all":
        return proof.firings / proof.images
    return proof.firing_share


def certified(rules: Rules | None) -> dict[str, Proof]:
    """The claims that may be made under some rules, each with its proof: those that can be watched."""
    found: dict[str, Proof] = {}
    for label, rule in rules.classes.items() if rules else ():
        if rule.state == "automatic" and rule.certificate is not None:
            found[label] = rule.certificate
        if rule.absence is not None and error(rule.absence) is not None:
            found[absent(label)] = rule.absence
    return found


def unwatched(rules: Rules | None) -> tuple[str, ...]:
    """The claims of absence that are made, read blind and corrected, but not watched: their certificates do not tell how often
    they are made."""
    if rules is None:
        return ()
    return tuple(
        absent(label)
        for label, rule in rules.classes.items()
        if rule.absence is not None and error(rule.absence) is None
    )
