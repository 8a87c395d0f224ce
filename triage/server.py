"""Runs the gateway under uvicorn until SIGTERM or SIGINT, then drains."""

from __future__ import annotations

import gc
import logging
import socket
from types import FrameType

import msgspec
import uvicorn

from triage.app import create_app
from triage.errors import SettingsError
from triage.parts import Parts
from triage.settings import Settings

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

CONNECTIONS = 1024
"""Open at once, idle ones among them: reviewers and listeners keep theirs."""
KEEP_ALIVE_S = 75
"""Longer than clients and proxies keep an idle connection: the side that closes first must not be the one that is asked."""


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
    """Blocks until the gateway is told to stop. In-flight requests are finished first. Raises SettingsError."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    app = create_app(settings)
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, loop="uvloop", http="httptools",
        access_log=False, log_config=None, lifespan="on", timeout_graceful_shutdown=20, server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S, proxy_headers=False,
        limit_concurrency=max(CONNECTIONS, 4 * settings.max_in_flight),
    )  # fmt: skip
    # A refusal to start is the user's to mend: it is raised below, and its traceback is nobody's.
    logging.getLogger("uvicorn.error").addFilter(lambda record: getattr(app.state, "refused", None) is None)
    try:
        _Server(config).run()
    except SystemExit:
        refused: SettingsError | None = getattr(app.state, "refused", None)
        if refused is not None:
            raise refused from None
        raise


class _Server(uvicorn.Server):
    """Tells streams and long polls to end as soon as a signal arrives, before it waits for connections to close."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what is there now stays: no collection needs to walk through it again

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        parts: Parts | None = getattr(self.config.app.state, "parts", None)  # type: ignore[union-attr]
        if parts is not None:
            parts.stopping.set()
        super().handle_exit(sig, frame)
