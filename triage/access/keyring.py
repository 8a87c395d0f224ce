"""The keys that are good now. Replaced whole when documents change; a key that is in no document is refused."""

from __future__ import annotations

import datetime
import hmac
from collections.abc import Mapping

from triage.access.key_document import KeyDocument, digest, prefix_of
from triage.access.principal import FIRST, Principal
from triage.errors import NotAuthorized

_SHOW = "this is no key of this service; send one as 'Authorization: Bearer KEY'"


class Keyring:
    """Asked on every request: a dictionary, one SHA-256 and a comparison."""

    def __init__(self, first: str | None = None) -> None:
        """`first`: SHA-256 of a key that is an admin's although no document knows it."""
        self._first = first
        self._unread = False
        self._documents: Mapping[str, KeyDocument] = {}
        self._principals: dict[str, Principal] = {}

    @property
    def empty(self) -> bool:
        """Whether nobody ever made a key: one that was revoked counts, and one that cannot be read, so that neither the last
        revocation nor a broken document opens a door."""
        return self._first is None and not self._documents and not self._unread

    def know(self, documents: Mapping[str, KeyDocument], unread: bool = False) -> None:
        """These are the keys, by prefix; every other is none any more. `unread`: there are some that nobody can read."""
        self._unread = unread
        if documents == self._documents:
            return
        principals = {prefix: document.principal(prefix) for prefix, document in documents.items()}
        self._documents, self._principals = dict(documents), principals

    def principal(self, key: str) -> Principal:
        """Whose key it is. Raises NotAuthorized, telling only its holder that a key has ended."""
        prefix = prefix_of(key)
        document = self._documents.get(prefix) if prefix else None
        given = digest(key)
        if self._first is not None and hmac.compare_digest(given, self._first):
            return FIRST
        if prefix is None or document is None or not hmac.compare_digest(given, document.sha256):
            raise NotAuthorized(_SHOW)
        if document.expires_at is not None or document.revoked_at is not None:
            ended = document.ended(datetime.datetime.now(datetime.UTC))
            if ended:
                raise NotAuthorized(ended)
        return self._principals[prefix]

    def admins(self) -> bool:
        """Whether some key that is good now may make keys."""
        now = datetime.datetime.now(datetime.UTC)
        good = (prefix for prefix, each in self._documents.items() if each.ended(now) is None)
        return self._first is not None or any(self._principals[prefix].may("keys") for prefix in good)
