"""Every error this package raises.

HandlersError           a mistake that its maker can mend; the message ends with how
├── ServingError        a serving setting that cannot be
└── ServerError         TorchServe did not start, died, or answers wrongly; `log` is the end of its logs
"""

from __future__ import annotations


class HandlersError(Exception):
    """A mistake that its maker can mend; the message says how."""


class ServingError(HandlersError):
    """A serving setting that cannot be: `key = value: what is wrong; mend`."""


class ServerError(HandlersError):
    """TorchServe is not serving. `finding` says what was seen and the mend; `log` is the end of its logs."""

    def __init__(self, finding: str, log: str = "") -> None:
        super().__init__(f"{finding}\n{log}" if log else finding)
        self.finding = finding
        self.log = log
