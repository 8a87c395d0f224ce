"""How a bundle is served: provider, workers, batches. Travels inside the archive, as TorchServe's model-config."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from handlers.errors import ServingError


class Serving(BaseModel):
    """Knobs of one model on one server; `for_machine` gives measured defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Literal["cpu", "cuda"] = "cpu"
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes, each with its own copy of the model."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads of ONNX Runtime within one image, per worker."""
    batch_size: Annotated[int, Field(ge=1, le=256)] = 1
    max_batch_delay_ms: Annotated[int, Field(ge=0, le=1000)] = 0
    response_timeout_s: Annotated[int, Field(ge=1, le=3600)] = 30
    """A worker that has not answered a batch by then is killed and started anew."""

    @model_validator(mode="after")
    def _batches_wait(self) -> Self:
        if self.batch_size > 1 and self.max_batch_delay_ms == 0:  # TorchServe reads 0 as its default of 100 ms
            raise ValueError("batch_size above 1 needs max_batch_delay_ms of at least 1")
        return self

    @classmethod
    def checked(cls, **values: object) -> Self:
        """Like the constructor, but a mistake is one ServingError naming key, value and mend."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            what = first["msg"].removeprefix("Value error, ").lower()
            shown = f"{key} = {first['input']!r}" if key else "serving"
            raise ServingError(f"{shown}: {what}; choose another value") from None

    @classmethod
    def for_machine(
        cls, provider: Literal["cpu", "cuda"] = "cpu", workers: int | None = None, threads: int = 1
    ) -> Self:
        """What suits the provider: a CPU is fastest with one image at a time, one thread a worker, a worker a core."""
        if provider == "cuda":
            chosen = 2 if workers is None else workers
            return cls.checked(provider=provider, workers=chosen, threads=threads, batch_size=16, max_batch_delay_ms=2)
        chosen = max(1, cores() // max(1, threads)) if workers is None else workers
        return cls.checked(provider=provider, workers=chosen, threads=threads)

    @property
    def requests(self) -> int:
        """Requests at once that keep every worker busy: one in its hands and one at its door."""
        return 2 * self.workers * self.batch_size

    def model_config_yaml(self) -> str:
        """TorchServe's model-config: its own keys at the top, the handler's beneath `handler`."""
        return (
            f"minWorkers: {self.workers}\n"
            f"maxWorkers: {self.workers}\n"
            f"batchSize: {self.batch_size}\n"
            f"maxBatchDelay: {self.max_batch_delay_ms}\n"
            f"responseTimeout: {self.response_timeout_s}\n"
            f"deviceType: {'gpu' if self.provider == 'cuda' else 'cpu'}\n"
            f"handler:\n  provider: {self.provider}\n  threads: {self.threads}\n"
        )


def cores(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores this process may use: its affinity, and the container's share, which Python does not notice."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text().split()
        return max(1, min(here, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return here
