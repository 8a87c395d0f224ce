"""The gateway as a server: who closes an idle connection first, and what a log line is."""

from __future__ import annotations

import json
import logging
import sys

from triage.client import IDLE_S
from triage.server import KEEP_ALIVE_S, _JsonFormatter


def test_the_service_never_closes_a_connection_that_the_client_may_use() -> None:
    """When both give up after the same time, now and then a request meets a connection that is being closed."""
    assert KEEP_ALIVE_S > 2 * IDLE_S


def test_a_log_line_is_one_json_object_with_its_fields() -> None:
    record = logging.LogRecord("triage.x", logging.WARNING, "f", 1, "a constant %s", ("message",), None)
    record.prediction = "p1"
    line = _JsonFormatter().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["level"], told["logger"], told["message"]) == ("WARNING", "triage.x", "a constant message")
    assert told["prediction"] == "p1"
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record.exc_info = sys.exc_info()
    told = json.loads(_JsonFormatter().format(record))
    assert told["exception"].endswith("two\nlines")
