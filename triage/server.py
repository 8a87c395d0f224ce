"""Runs the gateway under uvicorn until SIGTERM or SIGINT, then drains."""

from __future__ import annotations

import logging

import msgspec
import uvicorn

from triage.app import create_app
from triage.settings import Settings

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: a constant message and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: str(value) for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def run(settings: Settings) -> None:
    """Blocks until the gateway is told to stop. In-flight requests are finished first."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    uvicorn.Server(
        uvicorn.Config(
            create_app(settings), host=settings.host, port=settings.port, loop="uvloop", http="httptools",
            access_log=False, log_config=None, lifespan="on", timeout_graceful_shutdown=20, server_header=False,
            limit_concurrency=4 * settings.max_in_flight,
        )
    ).run()  # fmt: skip
