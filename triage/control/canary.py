"""A canary as a site of its own: its answers are watched, suspended and recalled apart from the champion's. Pure."""

from __future__ import annotations

from dataclasses import replace

from triage.control.opened_site import Site
from triage.promise.releases import CANARY
from triage.promise.standing import Standing


def challenger_of(site: Site) -> Site | None:
    """What is tried at a site, under no standing yet; None without one.

    A suspension of the champion's silences the challenger too, unless the challenger's certificate rests on images from after
    it: when a class goes bad because the images changed, both read the same ones.
    """
    tried = site.challenger
    if tried is None:
        return None
    audit, images = site.document.audit, site.document.audit.images_per_day
    if images is not None:
        audit = audit.model_copy(update={"images_per_day": images * tried.share})
    suspended = tuple(sorted(tried.suspended))
    document = site.document.model_copy(update={"audit": audit, "suspended": suspended, "challenger": None})
    return replace(
        site, name=site.name + CANARY, of=site.name, document=document, bundle=tried.bundle, rules=tried.rules,
        image=tried.bundle.manifest.image, table=tried.table_unsuspended, table_unsuspended=tried.table_unsuspended,
        standing=Standing(), suspended=frozenset(), challenger=None,
    )  # fmt: skip


def canary_of(site: Site) -> Site | None:
    """The challenger that answers a share of a site's images; None where none does."""
    return challenger_of(site) if site.challenger and site.challenger.how == "canary" else None
