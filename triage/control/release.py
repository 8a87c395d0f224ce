"""How a site's document changes when a release is tried, put in force, or taken back. Pure.

    shadow    a challenger reads along and never answers
    canary    it answers a share of the images by its own rules
    promote   the challenger, or a named release, becomes the champion; the former champion is `previous`
    rollback  a challenger is taken away; without one the previous release is in force again

Each raises Invalid for what cannot be meant. Whether models and rules exist and fit is seen when the document is opened.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from model_store.errors import document_error
from triage.control.site_document import Challenger, Release, SiteDocument
from triage.errors import Invalid


def shadow(document: SiteDocument, model: str, rules: str | None, share: float) -> SiteDocument:
    return _tried(document, {"model": model, "rules": rules, "shadow": share})


def canary(document: SiteDocument, model: str, rules: str | None, share: float) -> SiteDocument:
    return _tried(document, {"model": model, "rules": rules, "canary": share})


def promote(document: SiteDocument, model: str | None = None, rules: str | None = None) -> SiteDocument:
    """Without a model the challenger's. Putting in force what is in force changes nothing."""
    if model is None:
        if document.challenger is None:
            raise Invalid("there is no challenger to promote; name a model, or try one with shadow or canary first")
        model, rules = document.challenger.model, document.challenger.rules
    if (model, rules) == (document.model, document.rules) and document.challenger is None:
        return document
    former = document.previous
    if document.model is not None and (model, rules) != (document.model, document.rules):
        former = Release(model=document.model, rules=document.rules)
    return _checked(document, {"model": model, "rules": rules, "labels": None, "challenger": None, "previous": former})


def rollback(document: SiteDocument) -> SiteDocument:
    """What was rolled back from is forgotten here: whoever says it twice does not return to what was bad."""
    if document.challenger is not None:
        return _checked(document, {"challenger": None})
    if document.previous is None:
        raise Invalid(
            "there is nothing to go back to: no challenger, and no release before this one; promote one by name"
        )
    back = document.previous
    return _checked(document, {"model": back.model, "rules": back.rules, "previous": None})


def _tried(document: SiteDocument, challenger: dict[str, Any]) -> SiteDocument:
    if document.model is None:
        raise Invalid("the site has no champion to challenge; promote a model first")
    if (challenger["model"], challenger["rules"]) == (document.model, document.rules):
        raise Invalid(f"{document.model} by these rules is the champion already; name another release")
    try:
        return _checked(document, {"challenger": Challenger.model_validate(challenger)})
    except ValidationError as error:
        raise Invalid(str(document_error("challenger", error))) from None


def _checked(document: SiteDocument, changes: dict[str, Any]) -> SiteDocument:
    try:
        return SiteDocument.model_validate({**dict(document), **changes})
    except ValidationError as error:
        raise Invalid(str(document_error("release", error))) from None
