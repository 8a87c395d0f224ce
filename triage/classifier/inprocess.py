"""The model inside the gateway: the same engine, no Java. For small installations and fast tests."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from model_store.bundle import Bundle
from model_store.engine import Engine, ProviderName
from model_store.errors import ImageError
from model_store.prediction import Prediction
from triage.errors import ClassifierUnavailable
from triage.metrics import Metrics

log = logging.getLogger(__name__)


class InProcessClassifier:
    """One thread that owns the sessions; requests wait in line for it."""

    def __init__(self, provider: ProviderName, threads: int, metrics: Metrics) -> None:
        self._provider = provider
        self._threads = threads
        self._metrics = metrics
        self._engines: dict[str, Engine] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="classify")

    async def classify(self, image: bytes, model: Bundle) -> Prediction:
        result = await asyncio.get_running_loop().run_in_executor(self._pool, self._predict, image, model)
        if isinstance(result, ImageError):
            raise result
        return result

    async def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _predict(self, image: bytes, model: Bundle) -> Prediction | ImageError:
        name = f"{model.manifest.name}/{model.manifest.version}"
        try:
            if model.digest not in self._engines:
                engine = Engine.open(model, self._provider, self._threads)
                engine.check_golden()
                self._engines[model.digest] = engine
            result = self._engines[model.digest].predict([image])[0]
        except Exception as error:  # ONNX Runtime's own are of many kinds, and each leaves the image to a person
            self._metrics.classifier_up.labels(name).set(0)
            log.warning("the model did not answer", extra={"model": name, "why": str(error)})
            raise ClassifierUnavailable(f"the model {name} did not answer ({error})") from error
        self._metrics.classifier_up.labels(name).set(1)
        return result
