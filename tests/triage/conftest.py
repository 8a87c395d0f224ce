"""A real Valkey for the whole session, wiped before each test that asks for it, and small data folders."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from embedded.stack import Valkey
from tests.services import Data, make_data, running_gateway, running_valkey
from tests.triage.gateway_parts import Wired, wired
from tests.triage.object_store import S3, running_s3
from tests.triage.serving import KEY, Served
from triage.index.reviews import RedisReviews


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    """A client that sees what the code under test wrote; everything is gone before the test begins."""
    with Redis.from_url(valkey.url) as client:
        client.flushall()
        yield client


@pytest.fixture
async def reviews(valkey: Valkey, redis: Redis) -> AsyncIterator[RedisReviews]:
    opened = RedisReviews(valkey.url, 5.0)
    yield opened
    await opened.close()


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return make_data(tmp_path / "data")


@pytest.fixture
async def gateway(data: Data, valkey: Valkey, redis: Redis) -> AsyncIterator[Wired]:
    """All parts of a gateway over `data`, its background steps at a standstill."""
    async with wired(data, valkey.url) as parts:
        yield parts


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway process with a key, over its own Valkey, for the tests of one module."""
    folder = tmp_path_factory.mktemp("served")
    made, scans = make_data(folder / "data"), folder / "scans"
    scans.mkdir()
    settings = {
        "api_key": KEY, "max_body_bytes": "200000", "lease_s": "60", "references": f'{{"scans": "file://{scans}"}}',
    }  # fmt: skip
    with (
        running_valkey(folder / "valkey") as server,
        running_gateway(made.folder, server.url, **settings) as gateway,
        httpx.Client(
            base_url=gateway.url, trust_env=False, timeout=30, headers={"Authorization": f"Bearer {KEY}"}
        ) as http,
    ):
        yield Served(made, gateway, server, http)
