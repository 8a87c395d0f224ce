"""Alarm thresholds, simulated once and kept on disk: a gateway that starts does not simulate for seconds what another has.

    <data>/thresholds/<hash>.json

The name is the SHA-256 of the promise and of the procedure that found the threshold, so that no file is ever changed, and one
by another procedure is not looked at. A file that does not say what it should is simulated again.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Literal

import msgspec

from model_store import files
from triage.promise import bets
from triage.promise.bets import Promise

log = logging.getLogger(__name__)


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    promise: Promise
    procedure: str
    threshold: float
    kind: Literal["alarm threshold"] = "alarm threshold"


def threshold(folder: Path, promise: Promise) -> float:
    """What `bets.threshold` says of a promise. Seconds where it is new: call it in a thread."""
    wanted = _Kept(promise=promise, procedure=bets.PROCEDURE, threshold=0.0)
    path = folder / f"{hashlib.sha256(msgspec.json.encode(wanted)).hexdigest()}.json"
    kept = _read(path, wanted)
    if kept is not None:
        return kept
    found = msgspec.structs.replace(wanted, threshold=bets.threshold(promise))
    try:
        files.replace(path, msgspec.json.encode(found))
    except OSError as error:
        log.warning("an alarm threshold is not kept", extra={"path": str(path), "why": str(error)})
    return found.threshold


def _read(path: Path, wanted: _Kept) -> float | None:
    """The threshold in a file; None where there is none that could be this promise's."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, ValueError) as error:
        log.warning("an alarm threshold is simulated again", extra={"path": str(path), "why": str(error)})
        return None
    right = msgspec.structs.replace(kept, threshold=0.0) == wanted and 1 < kept.threshold <= bets.highest(
        wanted.promise
    )
    return kept.threshold if right else None
