"""What a model is: on disk, on the wire, and when run.

Training, serving and triage all import this package and it imports none of them, so that the bytes a model
was trained, certified and served on go through one decoder, one resize and one decision.
"""

from __future__ import annotations

VERSION = "0.1.0"
"""Of the code; stands in every record and bundle."""
