"""The gateway's background steps, as wired: what one of them waits for must not stop another."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from redis import Redis

from embedded.stack import Valkey
from tests.services import DEADLINE_S, Data
from triage.app import create_app
from triage.settings import Settings


async def test_the_control_documents_are_read_while_every_shared_thread_is_busy(
    data: Data, valkey: Valkey, redis: Redis
) -> None:
    """Simulations, decoding and safe images share asyncio's pool; behind them a poll once came too late."""
    shared, busy, done = ThreadPoolExecutor(2), threading.Barrier(3), threading.Event()
    asyncio.get_running_loop().set_default_executor(shared)

    def work() -> None:
        busy.wait(DEADLINE_S)
        done.wait(DEADLINE_S)

    app = create_app(Settings(data=data.folder, redis_url=valkey.url, classifier="inprocess", node="test"))
    async with app.router.lifespan_context(app):
        control = app.state.parts.control
        working = [shared.submit(work) for _ in range(2)]
        busy.wait(DEADLINE_S)
        try:
            data.declare(mode="assist")
            deadline = time.monotonic() + DEADLINE_S
            while control.site("default", "default").document.mode != "assist":
                assert time.monotonic() < deadline, "the change was never read"
                await asyncio.sleep(0.01)
            assert not any(each.done() for each in working)
        finally:
            done.set()
