"""10,000 broken images through a real gateway: each a prediction or a problem, never a 5xx, and the memory stays as it was."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.bundles import picture
from tests.model_store import images
from tests.services import blob_files, eventually, make_data, raw, running_gateway, running_valkey

COUNT, SENDERS = 10_000, 8
SETTLED = 2_000
"""So many fill pools and caches before memory is measured."""
MEGABYTE = 2**20
GROWS_AT_MOST = 60 * MEGABYTE


def mutated(seed: int, originals: list[bytes]) -> bytes:
    """One of the originals with bytes changed, cut out, doubled, swapped, or another's tail."""
    chance = random.Random(seed)
    image = bytearray(chance.choice(originals))
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(image))
        length = chance.choice((1, 2, 4, 16, 256))
        match chance.randrange(6):
            case 0:
                image[at] ^= 1 << chance.randrange(8)
            case 1:
                del image[at : at + length]
            case 2:
                image[at:at] = image[at : at + length]
            case 3:
                image[at : at + length] = chance.randbytes(length)
            case 4:
                image[at : at + 4] = chance.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"))
            case 5:
                image[at:] = chance.choice(originals)[at:]
        if not image:
            return b""
    return bytes(image)


@pytest.mark.slow
def test_mutated_images_are_refused_or_read_and_memory_is_flat(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    originals = [
        picture("red"), picture("green", format="JPEG"), picture("blue", format="WEBP"), images.encoded("JPEG"),
        images.encoded("PNG"), images.encoded("WEBP"), images.palette(), images.grey16(), images.rgb16(), images.turned(6),
        images.broken_exif(), images.animated("PNG"), images.animated("WEBP"),
    ]  # fmt: skip
    statuses: Counter[int] = Counter()
    with (
        running_valkey(tmp_path / "valkey") as valkey,
        running_gateway(data.folder, valkey.url) as gateway,
        raw(gateway) as http,
    ):
        process = psutil.Process(gateway.process.pid)

        def send(seed: int) -> httpx.Response:
            return http.post("/v1/predictions", content=mutated(seed, originals))

        def sent(start: int, count: int) -> Iterator[httpx.Response]:
            with ThreadPoolExecutor(SENDERS) as pool:
                yield from pool.map(send, range(start, start + count))

        for reply in sent(0, SETTLED):
            statuses[reply.status_code] += 1
        before = process.memory_info().rss
        for reply in sent(SETTLED, COUNT - SETTLED):
            statuses[reply.status_code] += 1
            if reply.status_code != 200:
                assert reply.headers["content-type"] == "application/problem+json"
        assert sum(statuses.values()) == COUNT
        assert set(statuses) <= {200, 400, 413, 415, 422}, statuses
        assert min(statuses[200], statuses[422]) > COUNT / 20, f"too few were read, or too few were broken: {statuses}"
        grown = eventually(lambda: (found := process.memory_info().rss - before) < GROWS_AT_MOST and max(found, 1))
        assert grown < GROWS_AT_MOST
        assert http.get("/readyz").json() == {"status": "answering", "why": []}
        assert not [name for name in blob_files(data.folder) if name.endswith(".partial")]
    assert "Traceback" not in Path(gateway.process.log).read_text()
