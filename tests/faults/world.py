"""Two gateways, Valkey and a model, each a process, with cables between them that can be pulled."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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

    def __init__(self, data: Path, node: str, environment: Mapping[str, str], fault: Mapping[str, str] | None) -> None:
        self.node = node
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = data / "logs" / f"{node}.log"
        self._environment = {
            **environment, "TRIAGE_DATA": str(data), "TRIAGE_NODE": node, "TRIAGE_PORT": str(self.port),
        }  # fmt: skip
        self.start(fault)

    def start(self, fault: Mapping[str, str] | None = None) -> None:
        environment = {**self._environment, "FAULT": json.dumps(dict(fault or {}))}
        self.process = Process(self.node, _LAUNCHER, self._log, environment)
        self.process.wait_until(self._answers, 60)

    def restart(self) -> None:
        """As its supervisor would, without the fault."""
        self.process.kill()
        self.start()

    def replace(self, node: str) -> None:
        """Another machine takes its place, at its address, with a journal of its own."""
        self.node, self._environment["TRIAGE_NODE"] = node, node
        self.start()

    def signal(self, number: signal.Signals) -> None:
        self.process.signal(number)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", trust_env=False, timeout=2).status_code == 200
        except httpx.TransportError:
            return False


@dataclass
class Model:
    """A classifier server, and the cable to it. `delay` is a file with the seconds that it takes more."""

    bundle: Path
    logs: Path
    delay: Path
    cable: Proxy

    def start(self) -> None:
        command = [
            sys.executable, "-m", "tests.faults.classifier_server", str(self.cable.target), str(self.bundle), str(self.delay)
        ]  # fmt: skip
        self.process = Process("model", command, self.logs / f"model-{self.cable.target}.log")
        self.process.wait_until(self._answers, 60)

    def _answers(self) -> bool:
        try:
            httpx.get(f"http://127.0.0.1:{self.cable.target}/", trust_env=False, timeout=2)
        except httpx.TransportError:
            return False
        return True


@dataclass
class World:
    data: Data
    faults: Path
    """Folder of the files that launched faults look at."""
    valkey: Valkey
    to_redis: Proxy
    models: list[Model]
    settings: Mapping[str, str]
    gateways: list[FaultyGateway] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    """Journals of machines that are gone."""

    @property
    def urls(self) -> list[str]:
        return [gateway.url for gateway in self.gateways]

    @property
    def folder(self) -> Path:
        return self.data.folder

    @property
    def journal(self) -> Path:
        return Path(self.settings.get("journal", self.folder / "journal"))

    @property
    def journals(self) -> list[Path]:
        return [self.journal, *self.kept]

    @property
    def blobs(self) -> Path:
        return Path(self.settings.get("blobs", self.folder / "blobs"))

    def redis(self) -> Redis:
        """Past the proxy."""
        return Redis.from_url(self.valkey.url)


@contextmanager
def world(
    folder: Path, faults: Mapping[int, Mapping[str, str]] | None = None, models: int = 1, **settings: str
) -> Iterator[World]:
    """Everything running; `faults` are the launcher's, by number of the gateway. What was logged is part of a failure."""
    with ExitStack() as stack:
        data = make_data(folder / "data")
        valkey = Valkey(folder / "valkey")
        stack.callback(lambda: valkey.process.kill())  # noqa: PLW0108  # a fault may have started another
        to_redis = stack.enter_context(Proxy(valkey.port))
        made = World(data, folder / "faults", valkey, to_redis, [], settings)
        for number in range(models):
            cable = stack.enter_context(Proxy(0))
            (cable.target,) = free_ports(1)  # only now: the cable would take a port that was free before it
            model = Model(data.bundle.folder, data.folder / "logs", folder / f"delay-{number}", cable)
            model.start()
            stack.callback(lambda model=model: model.process.kill())  # type: ignore[misc]
            made.models.append(model)
        try:
            for number, node in enumerate(("one", "two")):
                environment = {
                    "TRIAGE_REDIS_URL": f"redis://127.0.0.1:{to_redis.port}/0", "TRIAGE_REDIS_TIMEOUT_S": "1",
                    "TRIAGE_TORCHSERVE_URL": f"http://127.0.0.1:{made.models[number % models].cable.port}",
                    "TRIAGE_CLASSIFY_TIMEOUT_S": "2", "TRIAGE_LEASE_S": "10",
                    **{f"TRIAGE_{name.upper()}": value for name, value in settings.items()},
                }  # fmt: skip
                gateway = FaultyGateway(data.folder, node, environment, (faults or {}).get(number))
                made.gateways.append(gateway)
                stack.callback(lambda gateway=gateway: gateway.process.kill())  # type: ignore[misc]
            yield made
        except BaseException as error:
            for gateway in made.gateways:
                error.add_note(f"the end of {gateway.process.log}:\n{gateway.process.tail(40)}")
            raise
