"""Control documents: what each site does, and every other kind. Versioned JSON, changed by compare-and-swap, read again each
second.

projects/<project>/sites/<site>.json
projects/<project>/standing/<site>.json   which classes are suspended beside those of the document
and what kinds.py lists.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field

from model_store.errors import ModelStoreError
from model_store.labels import LabelSchema
from model_store.record import PredictionRecord
from triage.control import kinds, standings, validity
from triage.control.canary import canary_of
from triage.control.catalog import Catalog
from triage.control.judging import Judgements, judged
from triage.control.kept import Entry, Kept
from triage.control.kinds import KINDS, NAME, Place
from triage.control.opened_site import Site
from triage.control.opening import open_site
from triage.control.placing import placed
from triage.control.shelf import Shelf, Text
from triage.control.site_document import SiteDocument
from triage.control.standings import Standings
from triage.control.switch_document import SwitchDocument
from triage.errors import NotFound, PreconditionFailed
from triage.ids import now_us
from triage.ports import Documents
from triage.promise.releases import CANARY, watched_as
from triage.promise.standing import Standing
from triage.reviewing.item import REVIEW
from triage.reviewing.queue_document import QueueDocument

Name = Annotated[str, Field(pattern=NAME)]
"""Of a project or a site: it stands in paths, lease tokens and Redis keys."""


class Change(NamedTuple):
    """A site's document that was checked and may be put: what it opens, its content, and the etag of what it replaces."""

    site: Site
    content: bytes
    before: str | None


@dataclass
class Control:
    """The sites as last read. `poll` reads again what changed; `age` tells how long ago that last worked."""

    documents: Documents
    catalog: Catalog
    recorded: tuple[str, ...] | None = None
    """Metadata fields that this gateway records; None: not known here, and so not asked about."""
    announce: Callable[[], None] = lambda: None
    """Called from any thread after this gateway changed a document."""
    problems: dict[str, str] = field(default_factory=dict)
    """Per `project/site`, or per document of another kind: why its newest document is not in force, and the one before stays;
    or why it should not be."""
    _sites: dict[tuple[str, str], Site] = field(default_factory=dict)
    _standings: Standings = field(default_factory=Standings)
    _judgements: Judgements = field(default_factory=Judgements)
    _kept: Kept = field(default_factory=Kept)
    _read_at: float = float("-inf")
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._shelf = Shelf(self.documents)

    @property
    def age(self) -> float:
        """Seconds since the documents were last read whole."""
        return time.monotonic() - self._read_at

    @property
    def sites(self) -> list[Site]:
        return list(self._sites.values())

    def site(self, project: str, name: str) -> Site:
        """Raises NotFound for a site that was never declared: a typing error must not open a new one."""
        found = self._sites.get((project, name))
        if found is None:
            raise NotFound(
                f"there is no site {name!r} in project {project!r}; "
                f"declare it with PUT /v1/projects/{project}/sites/{name}"
            )
        return found

    def canary(self, site: Site) -> Site:
        """The site's canary; the site itself when another document took it away meanwhile."""
        return self._sites.get((site.project, site.name + CANARY), site)

    def reader_of(self, record: PredictionRecord) -> Site:
        """Who read an image, as it stands now: the site, or its canary while there is one. Raises NotFound."""
        found = self._sites.get((record.project, watched_as(record)))
        return found or self.site(record.project, record.site)

    def labels(self, project: str) -> LabelSchema:
        """The label schema of a project. Raises NotFound."""
        for site in self._sites.values():
            if site.project == project:
                return site.labels
        raise NotFound(f"there is no project {project!r}; declare a site of it first")

    def of(self, kind: str, project: str | None = None) -> dict[str, Any]:
        """The documents of a kind by name, of a project or, without one, of the service: instances of the kind's model."""
        return self._kept.of(kind, project)

    def service(self, kind: str) -> Any | None:
        """The one document of a kind that the service has one of; None without it."""
        return self.of(kind).get("")

    def unread(self, kind: str) -> bool:
        """Whether there is a document of a kind that cannot be read and is not in force."""
        return any(place.kind == kind for place in self._kept.unreadable)

    def entry(self, kind: str, project: str | None, name: str = "") -> Entry | None:
        """A document in force and its etag, of any kind but sites."""
        return self._kept.get(Place(kind, project, name))

    def off(self, project: str) -> str | None:
        """Why nothing of a project may answer by itself: the kill switch's reason. None: it may."""
        for kind, where in (("switch", None), ("project_switch", project)):
            if Place(kind, where, "") in self._kept.unreadable:
                return f"the document {KINDS[kind].path(where)} cannot be read"  # nobody knows: nothing answers
            switch: SwitchDocument | None = self.of(kind, where).get("")
            if switch is not None and not switch.answering:
                return switch.reason
        return None

    def poll(self) -> None:
        """Reads every document that changed. A broken one is reported in `problems` and changes nothing. Overrides end here.

        Raises Unavailable when the documents cannot be read: what was in force stays, and `age` grows.
        """
        with self._changing:
            started = time.monotonic()
            problems: dict[str, str] = {}
            texts = placed(self._shelf.read(), problems)
            self._kept.renew({place: text for place, text in texts.items() if place.kind in KINDS}, problems)
            sites: dict[tuple[str, str], Site] = {}
            for place, text in texts.items():
                if place.kind != "site" or place.project is None:
                    continue
                known = self._sites.get((place.project, place.name))
                try:
                    if known is None or known.etag != text.etag:
                        sites[place.project, place.name] = self.open(place.project, place.name, *text)
                    else:
                        sites[place.project, place.name] = known
                except ModelStoreError as error:
                    problems[f"{place.project}/{place.name}"] = str(error)
                    if known is not None:
                        sites[place.project, place.name] = known
            for (project, name), site in sites.items():
                text = texts.get(Place("standing", project, name)) or standings.NONE
                sites[project, name] = self._stood(site, text, problems)
                self._judgements.tell(site, problems)
            for canary in filter(None, map(canary_of, list(sites.values()))):
                text = texts.get(Place("standing", canary.project, canary.name)) or standings.NONE
                before = self._sites.get((canary.project, canary.name))
                same = before is not None and (before.etag, before.document) == (canary.etag, canary.document)
                stood = before if same and before is not None else canary
                sites[canary.project, canary.name] = self._stood(stood, text, problems)
            self._sites, self.problems = sites, problems
            self._read_at = started

    def _stood(self, site: Site, text: Text, problems: dict[str, str]) -> Site:
        """The site under the kill switch and the standing that are in force."""
        found = self._standings.in_force(site.project, site.name, text, problems)
        return site.switched(self.off(site.project)).standing_as(found, now_us())

    def change_standing(self, site: Site, change: Callable[[Standing], Standing]) -> Standing:
        """Puts `change` of the document that stands in its place, and in force here; the document that stands then.

        `change` sees what nobody else changes meanwhile, or is asked again; it raises, or gives back what it got, when that is
        not what it expected. Raises PreconditionFailed when the site's own document is not the one the caller knows,
        ModelStoreError when the standing document is broken, Unavailable.
        """
        path = _path("standing", site.project, site.name)
        with self._changing:
            while True:
                document = self._now(_path("sites", site.project, site.place))
                if document is None or document.etag != site.etag:
                    raise PreconditionFailed(
                        f"the document of {site.project}/{site.name} changed meanwhile; read it again and repeat the change"
                    )
                text = self._now(path)
                before = self._standings.of(site.project, site.name, text or standings.NONE)
                after = change(before)
                if after == before:
                    break
                try:
                    tag = self.documents.swap(path, after.content(), text.etag if text else None)
                except PreconditionFailed:
                    continue  # another gateway was faster
                self._standings.put(site.project, site.name, tag, after)
                self.announce()
                break
            here = self._sites.get((site.project, site.name))
            if here is not None:
                self._sites = {**self._sites, (site.project, site.name): here.standing_as(after, now_us())}
        return after

    def _now(self, path: str) -> Text | None:
        """A document as it stands in the store; None without one."""
        try:
            return Text(*self.documents.read(path))
        except NotFound:
            return None

    def _check_labels(self, site: Site) -> None:
        """Reviewers of a project share one queue and one list of labels. Raises ModelStoreError for a site with another."""
        for other in self._sites.values():
            same_queue = other.project == site.project and other.name != site.name
            if same_queue and other.labels.digest != site.labels.digest:
                raise ModelStoreError(
                    f"site {site.project}/{site.name} has other labels than {other.project}/{other.name}, and reviewers "
                    "of a project choose from one list; declare it in a project of its own"
                )

    def judge(self) -> None:
        """Works out how long faults would go unseen at the live sites, for `poll` to tell of. Takes seconds where a promise is
        new, and so is no part of `poll`, whose age lets everything go to people."""
        self._judgements.judge(self.sites)

    def _check_conditions(self, site: Site) -> None:
        """Raises ModelStoreError for rules with a use condition that no image can meet here.

        Only for a change: a document that is in force stays so, and everything then goes to people.
        """
        for rules in (site.rules, site.challenger.rules if site.challenger else None):
            if self.recorded is not None and (told := validity.never_met(rules, self.recorded)):
                raise ModelStoreError(f"site {site.project}/{site.name}: {told}")

    def _check_tried(self, site: Site) -> None:
        """Raises ModelStoreError for a release of which a class was suspended while it was a canary here, unless the document
        suspends it too: as a champion it would answer again, since its watch begins anew under the site's own name."""
        name = site.name + CANARY
        text = self._now(_path("standing", site.project, name))
        if text is None:
            return
        tried, now = self._standings.of(site.project, name, text), now_us()
        failed = {
            claim for claim in tried.suspended(site.proofs, now) if tried.classes[claim].rule == site.proofs[claim].rule
        }
        if open_to := sorted(failed - set(site.document.suspended)):
            raise ModelStoreError(
                f"site {site.project}/{site.name}: {open_to[0]} was suspended under these rules while they were a canary's; "
                "add it to 'suspended', or certify anew from images that came since"
            )

    def _check_queue(self, project: str, name: str, queue: QueueDocument) -> None:
        """Raises ModelStoreError for a queue that names one that is not there, itself, or no label of the project."""
        to = queue.escalate_to
        # In the store: another gateway may have been given the adjudicators' document a moment ago.
        if to == name or (to not in (None, REVIEW) and self._now(KINDS["queue"].path(project, to)) is None):
            raise ModelStoreError(f"escalate_to = {to!r} is no other queue of the project; declare that one first")
        labels = next((site.labels.ids for site in self.sites if site.project == project), None)
        unknown = {label for rule in queue.routes for label in rule.labels} - set(labels or ())
        if labels is not None and unknown:
            raise ModelStoreError(f"routes: {min(unknown)!r} is no label of the project; there is {', '.join(labels)}")

    def open(self, project: str, name: str, content: bytes, etag: str = "") -> Site:
        """The site that a document describes, under no suspension yet. Raises ModelStoreError naming what does not fit."""
        return open_site(self.catalog, project, name, content, etag)

    def prepare(self, project: str, name: str, document: SiteDocument, if_match: str | None) -> Change:
        """Checks a document that is to be put; nothing changes yet. May take seconds where a promise is new.

        `if_match` is the etag the caller read, None to create. Raises PreconditionFailed, Unavailable, or ModelStoreError when
        the document names what is not there.
        """
        content = kinds.text_of(document)
        site = self.open(project, name, content)
        if told := judged(site):
            raise ModelStoreError(f"site {project}/{name}: {told}")
        self._stands(_path("sites", project, name), f"{project}/{name}", if_match)
        self._check_labels(site)
        self._check_conditions(site)
        self._check_tried(site)
        return Change(site, content, if_match)

    def commit(self, change: Change) -> Site:
        """Puts what was prepared in force. Raises PreconditionFailed, Unavailable, or ModelStoreError for other labels."""
        site = change.site
        with self._changing:
            self._check_labels(site)
            text, tried = (
                self._now(_path("standing", site.project, name)) or standings.NONE
                for name in (site.name, site.name + CANARY)
            )
            tag = self.documents.swap(_path("sites", site.project, site.name), change.content, change.before)
            site = self._stood(replace(site, etag=tag), text, {})
            sites = {at: each for at, each in self._sites.items() if at != (site.project, site.name + CANARY)}
            sites[site.project, site.name] = site
            if canary := canary_of(site):
                sites[site.project, canary.name] = self._stood(canary, tried, {})
            self._sites = sites  # whole: nobody may find the site without its canary
        self.announce()
        return site

    def put(self, project: str, name: str, document: SiteDocument, if_match: str | None) -> tuple[Site, str | None]:
        """`prepare` and `commit`; the site, and the etag that it replaced."""
        return self.commit(self.prepare(project, name, document, if_match)), if_match

    def check(
        self, kind: str, project: str | None, name: str, if_match: str | None, model: BaseModel | None = None
    ) -> None:
        """Raises PreconditionFailed when a document of a kind is not the one the caller read (None: is there), and
        ModelStoreError for one that names what is not there."""
        if isinstance(model, QueueDocument) and project is not None:
            self._check_queue(project, name, model)
        self._stands(KINDS[kind].path(project, name), "/".join(filter(None, (project, name))) or kind, if_match)

    def keep(self, kind: str, project: str | None, name: str, model: BaseModel, if_match: str | None) -> str:
        """Stores a document of a kind and puts it in force here; its etag. Raises PreconditionFailed, Unavailable."""
        content = kinds.text_of(model)
        with self._changing:
            tag = self.documents.swap(KINDS[kind].path(project, name), content, if_match)
            self._changed(Place(kind, project, name), Entry(model, tag))
        return tag

    def drop(self, kind: str, project: str | None, name: str, if_match: str) -> None:
        """Removes a document of a kind. Raises PreconditionFailed, Unavailable."""
        with self._changing:
            self.documents.remove(KINDS[kind].path(project, name), if_match)
            self._changed(Place(kind, project, name), None)

    def _changed(self, place: Place, entry: Entry | None) -> None:
        self._kept.put(place, entry)
        self._sites = {at: site.switched(self.off(site.project)) for at, site in self._sites.items()}
        self.announce()

    def _stands(self, path: str, told: str, if_match: str | None) -> None:
        text = self._now(path)
        if (text.etag if text else None) != if_match:
            raise PreconditionFailed(
                f"the document of {told} is {text.etag if text else 'not there yet'} and not {if_match or 'new'}; "
                "read it again and repeat the change"
            )


def _path(folder: str, project: str, name: str) -> str:
    return f"projects/{project}/{folder}/{name}.json"
