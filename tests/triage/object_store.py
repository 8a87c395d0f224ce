"""A real S3 server for tests: SeaweedFS on loopback ports, with one bucket, ended by whoever asked for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import httpx

from embedded.ports import free_ports
from embedded.process import Process

BUCKET = "tests"


@dataclass
class S3:
    """A running server. `environment` is what a client process needs to reach it."""

    process: Process
    port: int
    environment: dict[str, str]

    def url(self, prefix: str) -> str:
        """Of a place of its own: tests that name two prefixes do not see one another."""
        return f"s3://{BUCKET}/{prefix}"


@contextmanager
def running_s3(folder: Path) -> Iterator[S3]:
    """The server, and its credentials in our own environment for as long as the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
             "s3.port", "s3.port.grpc")  # fmt: skip
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    weed = Path(sys.executable).with_name("weed")
    command = [
        str(weed), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3",
        *(f"-{name}={port}" for name, port in ports.items()), "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=50", "-master.electionTimeout=1s",
    ]  # fmt: skip
    port = ports["s3.port"]
    environment = {
        "AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true",
    }  # fmt: skip

    def has_bucket() -> bool:
        try:
            return httpx.put(f"http://127.0.0.1:{port}/{BUCKET}", trust_env=False, timeout=5).status_code in (200, 409)
        except httpx.HTTPError:
            return False

    # Credentials of a server that runs already would make this one ask for them.
    process = Process("seaweedfs", command, folder / "weed.log", dict.fromkeys(environment, ""))
    try:
        process.wait_until(has_bucket, 60)
        with mock.patch.dict(os.environ, environment):
            yield S3(process, port, environment)
    finally:
        process.kill()
