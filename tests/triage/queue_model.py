"""What the queue is, in plain Python: the model that a real Valkey is compared with. Times are ms."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

ATTEMPTS, LEASE_MS, HOLD_MS, DEADLINE_MS = 3, 60_000, 10_000, 300_000
RANK = {"unresolved": 1, "withdrawn": 2, "resolved": 3}
REVIEWERS = ("ada", "bob", "cy")


@dataclass
class Known:
    """One item."""

    place: float
    received: int
    site: str = "default"
    case: str | None = None
    evidence: bool = False
    not_by: frozenset[str] = frozenset()
    state: str = "waiting"
    fence: int = 0
    token: tuple[int, str] | None = None
    """Of the lease, or of the answer that it gave."""
    holder: str = ""
    until: int = 0
    payload: bytes | None = None
    passed_by: set[str] = field(default_factory=set)
    expiries: int = 0

    def __post_init__(self) -> None:
        self.passed_by |= self.not_by

    @property
    def open(self) -> bool:
        return self.state not in RANK


@dataclass
class Model:
    """One queue. `died` and `requeued` are rounds, also of items that are not known yet."""

    items: dict[str, Known] = field(default_factory=dict)
    died: dict[str, int] = field(default_factory=dict)
    requeued: dict[str, int] = field(default_factory=dict)
    ending: dict[str, str] = field(default_factory=dict)
    published: int = 0

    def enqueue(self, name: str, known: Known) -> None:
        if name not in self.items:
            self.items[name] = known
            known.state = "dead" if self._is_dead(name) else "waiting"

    def _is_dead(self, name: str) -> bool:
        return self.died.get(name, 0) > self.requeued.get(name, 0)

    def may(self, name: str, reviewer: str, sites: Collection[str] = ()) -> bool:
        known = self.items[name]
        return known.state == "waiting" and reviewer not in known.passed_by and (not sites or known.site in sites)

    def first(self, reviewer: str, count: int, sites: Collection[str] = ()) -> list[str]:
        """What a lease gives, best first."""
        free = [(known.place, name) for name, known in self.items.items() if self.may(name, reviewer, sites)]
        return [name for _, name in sorted(free)[:count]]

    def whole_case(self, reviewer: str, sites: Collection[str] = ()) -> list[str]:
        best = self.first(reviewer, 1, sites)
        if not best or (case := self.items[best[0]].case) is None:
            return best
        of_case = (case, self.items[best[0]].site)
        others = [name for name, known in self.items.items() if (known.case, known.site) == of_case and name != best[0]]
        return best + [name for name in sorted(others) if self.may(name, reviewer, sites)]

    def lease(self, name: str, reviewer: str, token: tuple[int, str], now: int) -> None:
        known = self.items[name]
        known.fence += 1
        known.state, known.token, known.holder, known.until = "leased", token, reviewer, now + LEASE_MS

    def holds(self, name: str, token: tuple[int, str]) -> bool:
        known = self.items.get(name)
        return known is not None and known.state == "leased" and known.token == token

    def give_back(self, name: str, skipped_by: str = "") -> None:
        known = self.items[name]
        known.state, known.token, known.holder = "waiting", None, ""
        known.passed_by |= {skipped_by} - {""}

    def sweep(self, now: int, deadline: bool) -> tuple[int, dict[str, bytes]]:
        """How many leases expired, and the answers to roll forward."""
        expired, held = 0, {}
        for name, known in self.items.items():
            if known.until > now or known.state not in ("leased", "answering"):
                continue
            if known.state == "answering":
                assert known.payload is not None
                held[name], known.until = known.payload, now + HOLD_MS
                continue
            expired += 1
            self.give_back(name)
            known.expiries += 1
            if known.expiries >= ATTEMPTS:
                self.died[name] = self.requeued.get(name, 0) + 1
                known.state, self.ending[name] = "dead", f"dead {self.died[name]}"
        for name, known in self.items.items():
            late = deadline and not known.evidence and known.received <= now - DEADLINE_MS
            if late and known.open and known.state != "answering":
                known.state, self.ending[name] = "unresolved", "unresolved"
        return expired, held

    def finish(self, name: str, state: str, outcome: bool) -> None:
        announced = state == "unresolved" and self.ending.pop(name, None) is not None
        known = self.items.setdefault(name, Known(0, 0, state="gone"))
        if known.state == "answering" and state != "resolved":
            return
        if RANK.get(known.state, 0) >= RANK[state] and not announced:
            return
        self.ending.pop(name, None)
        known.state = state
        self.published += outcome

    def die(self, name: str, number: int) -> None:
        if self.ending.get(name) == f"dead {number}":
            del self.ending[name]
        known = self.items.get(name)
        if known is not None and not known.open:
            return
        self.died[name] = max(number, self.died.get(name, 0))
        if known is not None and known.state in ("waiting", "leased") and number > self.requeued.get(name, 0):
            known.state, known.token = "dead", None

    def requeue(self, name: str, number: int) -> None:
        known = self.items.get(name)
        if known is not None and not known.open:
            return
        self.requeued[name] = max(number, self.requeued.get(name, 0))
        if known is not None and known.state == "dead" and number >= self.died[name]:
            self.give_back(name)
            known.expiries = 0
