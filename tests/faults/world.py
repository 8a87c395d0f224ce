"""Two gateways, Valkey and a model, each a process, with cables between them that can be pulled."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from embedded.ports import free_ports
from embedded.process import Process
from embedded.stack import Valkey
from tests.faults.proxy import Proxy
from tests.services import Data, make_data

_LAUNCHER = (sys.executable, "-m", "tests.faults.launcher")


class FaultyGateway:
    """`secondreader serve` under the launcher."""

    def __init__(self, data: Path, node: str, environment: Mapping[str, str], fault: Mapping[str, Any] | None) -> None:
        self.node = node
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = data / "logs" / f"{node}.log"
        self._environment = {
            "TRIAGE_DATA": str(data), "TRIAGE_NODE": node, "TRIAGE_PORT": str(self.port), **environment,
        }  # fmt: skip
        self.start(fault)

    def start(self, fault: Mapping[str, Any] | None = None) -> None:
        environment = {**self._environment, "FAULT": json.dumps(dict(fault or {}))}
        self.process = Process(self.node, _LAUNCHER, self._log, environment)
        self.process.wait_until(self._answers, 60)

    def restart(self) -> None:
        """As its supervisor would, without the fault."""
        self.process.kill()
        self.start()

    def signal(self, number: signal.Signals) -> None:
        self.process.signal(number)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", trust_env=False, timeout=2).status_code == 200
        except httpx.TransportError:
            return False


@dataclass
class World:
    data: Data
    valkey: Valkey
    to_redis: Proxy
    to_model: Proxy
    delay: Path
    """A file with the seconds that the model takes more."""
    model_port: int
    environment: dict[str, str]
    gateways: list[FaultyGateway] = field(default_factory=list)
    model: Process | None = None

    @property
    def urls(self) -> list[str]:
        return [gateway.url for gateway in self.gateways]

    @property
    def folder(self) -> Path:
        return self.data.folder

    @property
    def journal(self) -> Path:
        return Path(self.environment.get("TRIAGE_JOURNAL", self.folder / "journal"))

    def start_model(self) -> None:
        command = [
            sys.executable, "-m", "tests.faults.classifier_server", str(self.model_port), str(self.data.bundle.folder),
            str(self.delay),
        ]  # fmt: skip
        self.model = Process("model", command, self.folder / "logs" / "model.log")
        self.model.wait_until(self._model_answers, 60)

    def stop_model(self) -> None:
        if self.model is not None:
            self.model.kill()

    def _model_answers(self) -> bool:
        try:
            httpx.get(f"http://127.0.0.1:{self.model_port}/", trust_env=False, timeout=2)
        except httpx.TransportError:
            return False
        return True

    def redis(self) -> Redis:
        """Past the proxy."""
        return Redis.from_url(self.valkey.url)


@contextmanager
def world(folder: Path, faults: Mapping[int, Mapping[str, Any]] | None = None, **settings: str) -> Iterator[World]:
    """Everything running; `faults` are the launcher's, by number of the gateway. What was logged is part of a failure."""
    with ExitStack() as stack:
        data = make_data(folder / "data")
        valkey = Valkey(folder / "valkey")
        stack.callback(lambda: valkey.process.kill())  # noqa: PLW0108  # a fault may have started another
        to_redis = stack.enter_context(Proxy(valkey.port))
        (model_port,) = free_ports(1)
        to_model = stack.enter_context(Proxy(model_port))
        environment = {
            "TRIAGE_REDIS_URL": f"redis://127.0.0.1:{to_redis.port}/0",
            "TRIAGE_TORCHSERVE_URL": f"http://127.0.0.1:{to_model.port}", "TRIAGE_CLASSIFY_TIMEOUT_S": "2",
            "TRIAGE_REDIS_TIMEOUT_S": "1", **{f"TRIAGE_{name.upper()}": value for name, value in settings.items()},
        }  # fmt: skip
        made = World(data, valkey, to_redis, to_model, folder / "delay", model_port, environment)
        stack.callback(made.stop_model)
        made.start_model()
        try:
            for number, node in enumerate(("one", "two")):
                gateway = FaultyGateway(data.folder, node, environment, (faults or {}).get(number))
                made.gateways.append(gateway)
                stack.callback(lambda gateway=gateway: gateway.process.kill())  # type: ignore[misc]
            yield made
        except BaseException as error:
            for gateway in made.gateways:
                error.add_note(f"the end of {gateway.process.log}:\n{gateway.process.tail(40)}")
            raise
