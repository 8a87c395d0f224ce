"""Runs the gateway under uvicorn until SIGTERM or SIGINT, then drains."""

from __future__ import annotations

import gc
import logging
import os
import resource
import socket
import time
from functools import partial
from types import FrameType
from typing import Any

import msgspec
import uvicorn

from triage import tracing
from triage.app import create_app
from triage.errors import SettingsError
from triage.parts import Parts
from triage.protocol import Protocol
from triage.settings import Settings

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

CONNECTIONS = 1024
"""Open at once, idle ones among them: reviewers keep theirs. Listeners to outcomes come on top."""
KEEP_ALIVE_S = 75
"""Longer than clients and proxies keep an idle connection: the side that closes first must not be the one that is asked."""

PRIVATE = 0o077
"""What other users of this machine may not do with what the gateway makes: images, journals, keys, the log. No other process
needs any of it; the models are somebody else's to write, and TorchServe reads only them."""

PATIENCE_S = 20
"""For what is in flight when it is told to stop, seconds."""


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: a constant message and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (trace := tracing.current.get()) is not None:
            line["trace"] = trace.id
        if prediction := tracing.prediction.get():
            line["prediction"] = prediction
        line |= {name: str(value) for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


FILES = 65_536
"""Open at once, where the system lets us: a listener is a socket, and many systems give a process 1,024 unless it asks."""


def _ask_for_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def run(settings: Settings) -> None:
    """Blocks until the gateway is told to stop. In-flight requests are finished first. Raises SettingsError."""
    _ask_for_files()
    os.umask(PRIVATE)
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    app = create_app(settings)
    protocol: Any = partial(Protocol, receive_s=settings.receive_s)
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, loop="uvloop", http=protocol, ws="none",
        access_log=False, log_config=None, lifespan="on", timeout_graceful_shutdown=PATIENCE_S, server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S, proxy_headers=False,
        limit_concurrency=max(CONNECTIONS, 4 * settings.max_in_flight) + settings.max_listeners,
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
    """Drains before it stops. At the first signal streams and long polls end, readiness says no and new work is refused in
    words; the listener closes when predictions in flight are done and `drain_s` has passed, or at a second signal."""

    _since: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what is there now stays: no collection needs to walk through it again

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        parts: Parts | None = getattr(self.config.app.state, "parts", None)  # type: ignore[union-attr]
        if parts is None or self._since is not None:
            super().handle_exit(sig, frame)
            return
        parts.stopping.set()
        self._since = time.monotonic()
        self._captured_signals.append(sig)

    async def on_tick(self, counter: int) -> bool:
        if self._since is not None and not self.should_exit:
            parts: Parts = self.config.app.state.parts  # type: ignore[union-attr]
            waited = time.monotonic() - self._since
            done = parts.calls.room.requests == 0 and waited >= parts.settings.drain_s
            self.should_exit = done or waited >= parts.settings.drain_s + PATIENCE_S
        return await super().on_tick(counter)
