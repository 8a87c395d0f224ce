"""How long faults would go unseen at live sites: worked out apart from the poll, since a new promise takes seconds."""

from __future__ import annotations

from collections.abc import Iterable

from triage.control.opened_site import Site
from triage.promise.exposure import unseen


def judged(site: Site) -> str:
    """A sentence about faults that would go unseen for longer than the site's document allows; empty when there are none."""
    document = site.document
    return unseen(site.proofs, document.audit, document.suspended) if document.mode == "live" else ""


class Judgements:
    """What was said of each site's document, once a version."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], tuple[str, str]] = {}
        """The etag of the document that was judged, and what is wrong with it."""

    def judge(self, sites: Iterable[Site]) -> None:
        for site in sites:
            if self._said.get((site.project, site.name), ("", ""))[0] != site.etag:
                self._said[site.project, site.name] = site.etag, judged(site)

    def tell(self, site: Site, problems: dict[str, str]) -> None:
        """Puts what is wrong with a site's document, as far as it is judged, among the problems."""
        etag, said = self._said.get((site.project, site.name), ("", ""))
        if said and etag == site.etag:
            where = f"{site.project}/{site.name}"
            problems[where] = f"{problems[where]}; {said}" if where in problems else said
