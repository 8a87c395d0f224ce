"""What a fault is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.faults.world import World

Act = Callable[[World, float], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """`act` does it, lasts for the seconds it is given, and mends it as an operator or a supervisor would.

    In `launched` and `settings`, `{faults}` is a folder of this run, `{small}` a disk of 16 MB.
    """

    name: str
    act: Act
    launched: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """Number of a gateway -> the launcher's fault that it is born with."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of both gateways."""
    models: int = 1
    """One for both gateways, or one for each."""
