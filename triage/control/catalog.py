"""Models and rules of a data folder, opened once and kept. Bundles and rules never change, so nothing here goes stale.

Rules come into force only through `Catalog.rules`, which asks for their signature. A record's rules are looked up through
`Catalog.recorded`, which does not: whoever explains lets nothing answer, and a key that is trusted no longer must not make the
past unreadable.
"""

from __future__ import annotations

from pathlib import Path

from model_store import bundle as bundles
from model_store import keys, signing
from model_store import rules as rule_files
from model_store.bundle import Bundle
from model_store.decision import DecisionTable
from model_store.errors import ModelStoreError
from model_store.rules import Rules


class Catalog:
    """Looks up bundles by `name/version` and rules by digest; both raise ModelStoreError with the mend."""

    def __init__(self, data: Path, trusted: Path | None = None) -> None:
        """`trusted` holds the public keys of whoever may let rules answer; by default the data folder's own."""
        self._data = data
        self._trusted = trusted or keys.trusted_folder(data)
        self._verified: set[str] = set()
        self._bundles: dict[str, Bundle] = {}
        self._rules: dict[str, Rules] = {}
        self._tables: dict[tuple[str, str], DecisionTable] = {}

    def bundle(self, model: str) -> Bundle:
        if model not in self._bundles:
            self._bundles[model] = bundles.find(self._data, model)
        return self._bundles[model]

    def rules(self, digest: str) -> Rules:
        """Rules that may come into force: a trusted key signed them, unless they let nothing answer."""
        rules = self.recorded(digest)
        if digest not in self._verified:
            signing.check(rules, rule_files.path_of(self._data, digest), self._trusted)
            self._verified.add(digest)
        return rules

    def recorded(self, digest: str) -> Rules:
        """Rules that decided something once, whoever signed them."""
        if digest not in self._rules:
            self._rules[digest] = rule_files.find(self._data, digest)
        return self._rules[digest]

    def keep(self, rules: Rules) -> None:
        """Stores rules made here, those under which everything is assist: whoever explains or recovers looks for them.

        They let nothing answer, so that they need no signature, and a gateway has no private key to make one.
        Raises ModelStoreError when the data folder cannot be written.
        """
        if rules.digest in self._rules:
            return
        try:
            rule_files.write(self._data, rules)
        except OSError as error:
            raise ModelStoreError(
                f"{self._data}/rules cannot be written ({error.strerror}); free space, or mend its owner"
            ) from None
        self._rules[rules.digest] = rules

    def table(self, model: str, digest: str) -> DecisionTable:
        """The decision table of a bundle under recorded rules. Raises DocumentError when they do not belong together."""
        if (model, digest) not in self._tables:
            bundle, rules = self.bundle(model), self.recorded(digest)
            rules.check_fits(bundle.digest, bundle.manifest)
            self._tables[model, digest] = DecisionTable.build(rules, bundle.manifest)
        return self._tables[model, digest]
