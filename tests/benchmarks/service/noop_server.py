"""A classifier that reads no pixels: the HTTP that TorchServe speaks, and the same valid prediction for every image.

    python -m tests.benchmarks.service.noop_server PORT REPLY_FILE

A process of its own, so that what the gateway spends on asking is real and what the model spends is nothing.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import cast

import httptools
import uvloop

from model_store.prediction import MEDIA_TYPE


class _Connection(asyncio.Protocol):
    def __init__(self, reply: bytes) -> None:
        head = f"HTTP/1.1 200 \r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(reply)}\r\nconnection: keep-alive\r\n\r\n"
        self._whole = head.encode() + reply
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(self._whole)


async def _serve(port: int, reply: bytes) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(reply), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
