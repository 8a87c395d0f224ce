"""Whether the queue may be given out: every gateway that lives has its journal in this index.

    sr:{gateways}:nodes   hash: gateway -> the index that holds all of its journal, `<epoch>/<run id>`
    sr:{gateways}:seen    sorted set: gateway -> when it last said that it lives
    sr:{<queue>}:whole    the index in which this queue was found whole

A Redis that was wiped, restarted or set back has lost answers that only some gateway's journal still knows of. Until that
gateway has brought them back, an item that is answered looks as if it waited, and would be given to a second person. So
nothing is leased from an index before all gateways have said that it is whole; one that is silent for some seconds is not
waited for.

Which index it is, is its epoch, which goes when everything is wiped, and the server's run id, which changes when it restarts.
And because a gateway can learn of a restart only when its connection breaks, what it knew is good for that connection only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import Gauge

from triage.errors import IndexAway
from triage.index.connection import RedisIndex
from triage.index.scripts import key, script

ALIVE_MS = 3000
_NAMED = 3
"""Gateways that a sentence names."""
_KEYS = ("sr:{gateways}:nodes", "sr:{gateways}:seen")


class Whole:
    """Of one gateway. `known` tells the index that holds all of its journal, None while it is behind."""

    def __init__(
        self, index: RedisIndex, node: str, known: Callable[[], str | None], gauge: Gauge | None = None
    ) -> None:
        """`gauge`: by `node`, of those that are waited for."""
        self._gauge = gauge or Gauge("waits", "Gateways that are waited for.", ("node",), registry=None)
        self._index = index
        self._node = node
        self._known = known
        self._stands: tuple[int, str] | None = None
        """The connection, and the index that was whole over it."""
        self.waits_for: tuple[str, ...] = ()
        """Gateways that live and whose journals are not known to be in this index; this one among them, if its is not."""
        self._marked: set[str] = set()
        """Queues that carry the mark of that index."""

    async def step(self) -> bool:
        """One turn: says that this gateway lives, and asks whether all others are done. Raises IndexAway."""
        connection, here = self._index.connections, await self._index.identity()
        known = self._known()
        mine = here if known == here else ""
        (missing,) = await self._index.run(script("whole", _KEYS, self._node, mine, ALIVE_MS, here))
        waits_for = {node.decode() for node in missing} | (set() if mine else {self._node})
        self._told(tuple(sorted(waits_for)))
        stands = (connection, here) if not waits_for else None
        if stands != self._stands:
            self._stands, self._marked = stands, set()
        return stands is not None

    async def ready(self, queue: str) -> str:
        """The mark that the queue carries when it may be given out. Raises IndexAway when it may not."""
        # A mark is set only right after the index was looked at: else it would call one whole that was wiped meanwhile.
        if not (self._holds() and queue in self._marked) and not await self.step():
            raise self.lacking()
        assert self._stands is not None
        _, here = self._stands
        if queue not in self._marked:
            await self._index.run(("SET", key(queue, "whole"), here))
            self._marked.add(queue)
        return here

    async def check(self, queue: str) -> None:
        """Raises IndexAway unless what is not in the queue is nowhere."""
        mark = await self.ready(queue)
        (found,) = await self._index.run(("GET", key(queue, "whole")), over=self._index.connections)
        if found != mark.encode():
            raise self.lacking()

    def lacking(self) -> IndexAway:
        """What to raise when a queue did not carry its mark."""
        self.lost()
        waits = f" and waits for {listed(self.waits_for)}" if self.waits_for else ""
        return IndexAway(f"the queue is being completed after a loss of Redis{waits}; ask again in a moment")

    def lost(self) -> None:
        """A queue did not carry its mark: something happened to the index."""
        self._stands, self._marked = None, set()

    def _told(self, waits_for: tuple[str, ...]) -> None:
        if waits_for != self.waits_for:
            for gone in set(self.waits_for) - set(waits_for):
                self._gauge.remove(gone)
            self.waits_for = waits_for
        for node in waits_for:
            self._gauge.labels(node).set(1)

    def _holds(self) -> bool:
        return self._stands is not None and self._stands[0] == self._index.connections


def listed(nodes: Sequence[str]) -> str:
    """For a sentence: the gateways by name, the first of them if they are many."""
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return f"the gateway{'s' if len(nodes) > 1 else ''} {', '.join(nodes[:_NAMED])}{more}"
