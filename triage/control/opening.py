"""Opens a site's document: everything it names is found, signed where it has to be, and fits."""

from __future__ import annotations

from pydantic import ValidationError

from model_store.bundle import Bundle
from model_store.errors import ModelStoreError, document_error
from model_store.manifest import ImageSpec
from model_store.rules import Rules, assist_rules
from triage.control.catalog import Catalog
from triage.control.opened_release import OpenedRelease
from triage.control.opened_site import Site
from triage.control.site_document import Release, SiteDocument
from triage.promise.claims import label_of

_STORED_ONLY = ImageSpec(height=1, width=1)


def open_site(catalog: Catalog, project: str, name: str, content: bytes, etag: str) -> Site:
    """The site that a document describes, under no suspension yet. Raises ModelStoreError naming what does not fit."""
    try:
        document = SiteDocument.model_validate_json(content)
    except ValidationError as error:
        raise document_error(f"site {project}/{name}", error) from None
    if document.model is None:
        if document.labels is None:
            raise ModelStoreError(f"site {project}/{name}: without a model it needs labels; add one of the two")
        if document.challenger is not None:
            raise ModelStoreError(
                f"site {project}/{name}: a challenger has no champion; name a model too, or leave it out"
            )
        return Site(project, name, document, etag, document.labels, _STORED_ONLY)
    bundle, rules = _release(catalog, name, Release(model=document.model, rules=document.rules))
    table = catalog.table(document.model, rules.digest)
    named = {*map(label_of, (*document.suspended, *document.audit.labels)), *document.always_review}
    unknown = sorted(named - set(bundle.manifest.labels.ids))
    if unknown:
        raise ModelStoreError(
            f"site {project}/{name}: {unknown[0]!r} is no label of {document.model}; mend its spelling"
        )
    return Site(
        project, name, document, etag, bundle.manifest.labels, bundle.manifest.image,
        bundle, rules, table, table, challenger=_challenger(catalog, project, name, document, bundle),
    )  # fmt: skip


def _challenger(
    catalog: Catalog, project: str, name: str, document: SiteDocument, champion: Bundle
) -> OpenedRelease | None:
    tried = document.challenger
    if tried is None:
        return None
    try:
        bundle, rules = _release(catalog, name, tried)
        table = catalog.table(tried.model, rules.digest)
    except ModelStoreError as error:
        raise ModelStoreError(f"site {project}/{name}: its challenger cannot be opened: {error}") from None
    if bundle.manifest.labels.digest != champion.manifest.labels.digest:
        raise ModelStoreError(
            f"site {project}/{name}: the challenger {tried.model} has other labels than {document.model}, and reviewers "
            "choose from one list; try it at a site of another project"
        )
    if tried.canary is not None:
        return OpenedRelease("canary", tried.canary, bundle, rules, table, table)
    assert tried.shadow is not None  # one of the two
    return OpenedRelease("shadow", tried.shadow, bundle, rules, table, table)


def _release(catalog: Catalog, site: str, release: Release) -> tuple[Bundle, Rules]:
    """Bundle and rules; rules under which everything is assist where none are named."""
    bundle = catalog.bundle(release.model)
    if release.rules is not None:
        return bundle, catalog.rules(release.rules)
    rules = assist_rules(bundle.digest, bundle.manifest, "cpu", site)
    catalog.keep(rules)
    return bundle, rules
