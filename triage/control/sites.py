"""Control documents: what each site does. Versioned JSON files, changed by compare-and-swap, read again each second.

<data>/control/projects/<project>/sites/<site>.json
<data>/control/projects/<project>/standing/<site>.json   which classes are suspended beside those of the document
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from model_store import files
from model_store.errors import ModelStoreError, document_error
from model_store.labels import LabelSchema
from model_store.manifest import ImageSpec
from model_store.rules import assist_rules
from triage.control import documents, validity
from triage.control.catalog import Catalog
from triage.control.documents import etag
from triage.control.opened_site import Site
from triage.control.site_document import SiteDocument
from triage.errors import NotFound
from triage.ids import now_us
from triage.promise import standing
from triage.promise.claims import label_of
from triage.promise.exposure import unseen
from triage.promise.standing import Standing

_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}$")
Name = Annotated[str, Field(pattern=_NAME.pattern)]
"""Of a project or a site: it stands in paths, lease tokens and Redis keys."""
_STORED_ONLY = ImageSpec(height=1, width=1)


@dataclass
class Control:
    """The sites as last read. `poll` reads again what changed; `age` tells how long ago that last worked."""

    folder: Path
    catalog: Catalog
    recorded: tuple[str, ...] | None = None
    """Metadata fields that this gateway records; None: not known here, and so not asked about."""
    problems: dict[str, str] = field(default_factory=dict)
    """Per `project/site`: why its newest document is not in force, and the one before stays; or why it should not be."""
    _sites: dict[tuple[str, str], Site] = field(default_factory=dict)
    _standings: dict[tuple[str, str], tuple[str, Standing | None]] = field(default_factory=dict)
    """Each with the etag it was read with."""
    _judged: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """The etag of the document that was judged, and what is wrong with it."""
    _read_at: float = float("-inf")
    _changing: threading.Lock = field(default_factory=threading.Lock)

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

    def labels(self, project: str) -> LabelSchema:
        """The label schema of a project. Raises NotFound."""
        for site in self._sites.values():
            if site.project == project:
                return site.labels
        raise NotFound(f"there is no project {project!r}; declare a site of it first")

    def poll(self) -> None:
        """Reads every document that changed. A broken one is reported in `problems` and changes nothing. Overrides end here.

        Raises OSError when the folder cannot be read: what was in force stays, and `age` grows.
        """
        with self._changing:
            sites: dict[tuple[str, str], Site] = {}
            problems: dict[str, str] = {}
            for path in self._documents():
                project, name = path.parent.parent.name, path.stem
                if not (_NAME.fullmatch(project) and _NAME.fullmatch(name)):
                    problems[f"{project}/{name}"] = (
                        f"{path}: names have small letters, digits, - and _ only; rename the file or its project's folder"
                    )
                    continue
                content = path.read_bytes()
                known = self._sites.get((project, name))
                try:
                    fresh = known is None or known.etag != etag(content)
                    sites[project, name] = self.open(project, name, content) if fresh else known  # type: ignore[assignment]
                except ModelStoreError as error:
                    problems[f"{project}/{name}"] = str(error)
                    if known is not None:
                        sites[project, name] = known
            for (project, name), site in sites.items():
                sites[project, name] = self._stood(site, problems)
                self._told(site, problems)
            self._sites, self.problems = sites, problems
            self._read_at = time.monotonic()

    def _stood(self, site: Site, problems: dict[str, str]) -> Site:
        """The site under the standing that is in force: the newest that could be read."""
        where = f"{site.project}/{site.name}"
        try:
            found: Standing | None = self._standing_of(site.project, site.name)
        except ModelStoreError as error:
            problems[where] = f"{problems[where]}; {error}" if where in problems else str(error)
            _, found = self._standings.get((site.project, site.name), ("", None))
        return site.standing_as(found, now_us())

    def _standing_of(self, project: str, name: str) -> Standing:
        """What a site's standing document says now, an empty one when there is none. Raises ModelStoreError, OSError."""
        path = self._standing_path(project, name)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = b"{}"
        tag, known = self._standings.get((project, name), ("", None))
        if known is None or tag != etag(content):
            known = standing.parse(content, f"{project}/{name}")
            self._standings[project, name] = etag(content), known
        return known

    def _standing_path(self, project: str, name: str) -> Path:
        return self.folder / "projects" / project / "standing" / f"{name}.json"

    def change_standing(self, site: Site, change: Callable[[Standing], Standing]) -> Standing:
        """Puts `change` of the document that stands in its place, and in force here; the document that stands then.

        `change` sees what nobody else changes meanwhile, and raises, or gives back what it got, when that is not what it
        expected. Raises PreconditionFailed when the site's own document is not the one the caller knows, ModelStoreError
        when the standing document is broken.
        """
        path = self._standing_path(site.project, site.name)
        document = self.folder / "projects" / site.project / "sites" / f"{site.name}.json"
        with self._changing, documents.changing(path):
            documents.check_etag(document, site.etag, f"{site.project}/{site.name}")
            before = self._standing_of(site.project, site.name)
            after = change(before)
            if after != before:
                files.replace(path, after.content())
                self._standings[site.project, site.name] = etag(after.content()), after
            here = self._sites.get((site.project, site.name))
            if here is not None:
                self._sites = {**self._sites, (site.project, site.name): here.standing_as(after, now_us())}
        return after

    def _documents(self) -> list[Path]:
        projects = self.folder / "projects"
        if not projects.exists() and not self._sites:
            return []  # nothing was ever declared
        folders = [project / "sites" for project in sorted(projects.iterdir()) if (project / "sites").is_dir()]
        return [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix == ".json"]

    def _check_labels(self, site: Site) -> None:
        """Reviewers of a project share one queue and one list of labels. Raises ModelStoreError for a site with another."""
        for other in self._sites.values():
            if (
                other.project == site.project and other.name != site.name
            ) and other.labels.digest != site.labels.digest:
                raise ModelStoreError(
                    f"site {site.project}/{site.name} has other labels than {other.project}/{other.name}, and reviewers "
                    "of a project choose from one list; declare it in a project of its own"
                )

    def judge(self) -> None:
        """Works out how long faults would go unseen at the live sites, for `poll` to tell of. Takes seconds where a promise is
        new, and so is no part of `poll`, whose age lets everything go to people."""
        for (project, name), site in list(self._sites.items()):
            if self._judged.get((project, name), ("", ""))[0] != site.etag:
                self._judged[project, name] = site.etag, _unseen(site)

    def _told(self, site: Site, problems: dict[str, str]) -> None:
        tag, told = self._judged.get((site.project, site.name), ("", ""))
        if told and tag == site.etag:
            where = f"{site.project}/{site.name}"
            problems[where] = f"{problems[where]}; {told}" if where in problems else told

    def _check_conditions(self, site: Site) -> None:
        """Raises ModelStoreError for rules with a use condition that no image can meet here.

        Only for a change: a document that is in force stays so, and everything then goes to people.
        """
        if self.recorded is not None and (told := validity.never_met(site.rules, self.recorded)):
            raise ModelStoreError(f"site {site.project}/{site.name}: {told}")

    def open(self, project: str, name: str, content: bytes) -> Site:
        """The site that a document describes, under no suspension yet. Raises ModelStoreError naming what does not fit."""
        try:
            document = SiteDocument.model_validate_json(content)
        except ValidationError as error:
            raise document_error(f"site {project}/{name}", error) from None
        if document.model is None:
            if document.labels is None:
                raise ModelStoreError(f"site {project}/{name}: without a model it needs labels; add one of the two")
            return Site(project, name, document, etag(content), document.labels, _STORED_ONLY)
        bundle = self.catalog.bundle(document.model)
        if document.rules is None:
            rules = assist_rules(bundle.digest, bundle.manifest, "cpu", name)
            self.catalog.keep(rules)
        else:
            rules = self.catalog.rules(document.rules)
        table = self.catalog.table(document.model, rules.digest)
        named = {*map(label_of, (*document.suspended, *document.audit.labels)), *document.always_review}
        unknown = sorted(named - set(bundle.manifest.labels.ids))
        if unknown:
            raise ModelStoreError(
                f"site {project}/{name}: {unknown[0]!r} is no label of {document.model}; mend its spelling"
            )
        return Site(
            project, name, document, etag(content), bundle.manifest.labels, bundle.manifest.image,
            bundle, rules, table, table,
        )  # fmt: skip

    def put(self, project: str, name: str, document: SiteDocument, if_match: str | None) -> tuple[Site, str | None]:
        """Checks and stores a document; returns the site and the etag it replaced.

        `if_match` is the etag the caller read, None to create. Raises PreconditionFailed, or ModelStoreError when the
        document names what is not there.
        """
        path = self.folder / "projects" / project / "sites" / f"{name}.json"
        content = document.model_dump_json(indent=1, exclude_defaults=True).encode()
        site = self.open(project, name, content)
        if told := _unseen(site):  # may take seconds: before anybody has to wait for it
            raise ModelStoreError(f"site {project}/{name}: {told}")
        with self._changing, documents.changing(path):
            before = documents.check_etag(path, if_match, f"{project}/{name}")
            self._check_labels(site)
            self._check_conditions(site)
            files.replace(path, content)
            site = self._stood(site, {})
            self._sites = {**self._sites, (project, name): site}
        return site, before


def _unseen(site: Site) -> str:
    document = site.document
    return unseen(site.proofs, document.audit, document.suspended) if document.mode == "live" else ""
