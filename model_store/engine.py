"""ONNX Runtime session over a bundle: a batch of images -> predictions. Knows no server's name."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model_store.bundle import Bundle
from model_store.decode import decode
from model_store.errors import BundleError, ImageError, ProviderUnavailable
from model_store.prediction import Prediction, check_scores
from model_store.preprocess import preprocess

ProviderName = Literal["cpu", "cuda"]
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
OUTPUTS = ("probability", "typicality", "embedding")
GOLDEN_TOLERANCE = {"fp32": 2e-3, "fp16": 2e-2, "int8": 5e-2}
"""Largest difference of a golden probability between machines: kernels differ, models do not."""
_BUCKETS = {"cpu": (1,), "cuda": (1, 2, 4, 8, 16, 32)}
"""Batch sizes that are ever run. On a CPU one image at a time is fastest; CUDA tunes its kernels anew for
each shape."""


class Engine:
    """A loaded model. Not thread-safe by promise; give each worker its own."""

    def __init__(self, bundle: Bundle, session: Any, provider: ProviderName) -> None:
        self.bundle = bundle
        self.provider = provider
        self._session = session

    @classmethod
    def open(cls, bundle: Bundle, provider: ProviderName = "cpu", threads: int = 1) -> Engine:
        """Loads the graph on exactly this provider with `threads` intra-op threads.

        Raises ProviderUnavailable when another provider would run, BundleError when the graph does not fit
        the manifest.
        """
        import onnxruntime

        wanted = _PROVIDERS[provider]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads  # the default counts the host's cores and ignores the container's share
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning steals the decoder's core
        options.log_severity_level = 3
        providers: list[Any] = [wanted]
        if provider == "cuda":
            onnxruntime.preload_dlls()
            providers = [(wanted, {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"})]
        try:
            session = onnxruntime.InferenceSession(str(bundle.graph), options, providers=providers)
        except Exception as error:
            if provider == "cuda":
                raise ProviderUnavailable(f"CUDA did not start ({error}); check the driver, or ask for cpu") from None
            raise BundleError(f"{bundle.graph} does not load ({error}); export the bundle again") from None
        runs = session.get_providers()[0]
        if runs != wanted:  # ONNX Runtime falls back without an error; a certificate names its provider
            raise ProviderUnavailable(
                f"{provider} was asked for and {runs} would run; install onnxruntime-gpu and its CUDA, or ask for cpu"
            )
        names = {output.name for output in session.get_outputs()}
        if not names.issuperset(OUTPUTS):
            raise BundleError(f"{bundle.graph} gives {sorted(names)} and should give {list(OUTPUTS)}; export it again")
        return cls(bundle, session, provider)

    def warm(self) -> None:
        """Runs every batch size once, so that no caller pays for the first."""
        image = self.bundle.golden().image[:1]
        for size in _BUCKETS[self.provider]:
            self.run(np.repeat(image, size, axis=0))

    def run(self, image: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], ...]:
        """`[n, H, W, 3]` of the manifest's dtype -> probability `[n, C]`, typicality `[n]`, embedding `[n,
        D]`."""
        outputs = self._session.run(OUTPUTS, {"image": image})
        return tuple(outputs)

    def predict(self, images: Sequence[bytes]) -> list[Prediction | ImageError]:
        """One prediction or one error for each image, in order; a bad image never touches its neighbours."""
        results: list[Prediction | ImageError | None] = [None] * len(images)
        tensors: dict[int, npt.NDArray[Any]] = {}
        decode_ms: dict[int, float] = {}
        spec = self.bundle.manifest.image
        for index, data in enumerate(images):
            started = time.perf_counter()
            try:
                tensors[index] = preprocess(decode(data, spec).pixels, spec)
            except ImageError as error:
                results[index] = error
            decode_ms[index] = 1e3 * (time.perf_counter() - started)
        for chunk, padded in _chunks(list(tensors), _BUCKETS[self.provider]):
            batch = np.zeros((padded, spec.height, spec.width, 3), dtype=spec.dtype)
            for row, index in enumerate(chunk):
                batch[row] = tensors[index]
            started = time.perf_counter()
            probability, typicality, embedding = self.run(batch)
            run_ms = 1e3 * (time.perf_counter() - started) / len(chunk)
            for row, index in enumerate(chunk):
                check_scores(probability[row], typicality[row])
                results[index] = Prediction(
                    graph=self.bundle.manifest.graph_digest,
                    provider=self.provider,
                    precision=self.bundle.manifest.precision,
                    probability=probability[row],
                    typicality=typicality[row],
                    embedding=embedding[row].astype(np.float16),
                    decode_ms=decode_ms[index],
                    run_ms=run_ms,
                )
        return [result for result in results if result is not None]

    def check_golden(self) -> None:
        """Raises BundleError unless the golden images still give their stored probabilities, from bytes to
        scores."""
        golden = self.bundle.golden()
        for index, result in enumerate(self.predict(golden.encoded)):
            if isinstance(result, ImageError):
                raise BundleError(f"{self.bundle.folder}: golden image {index} is refused ({result}); export it again")
            difference = float(np.abs(result.probability - golden.probability[index]).max())
            if not difference <= GOLDEN_TOLERANCE[self.bundle.manifest.precision]:
                raise BundleError(
                    f"{self.bundle.folder}: golden image {index} differs by {difference:.4f} on "
                    f"{self.provider}; this machine does not run the model that was certified"
                )


def _chunks(indices: list[int], buckets: tuple[int, ...]) -> Iterator[tuple[list[int], int]]:
    """Splits into runs of at most the largest bucket; each comes with the bucket it is padded to."""
    largest = buckets[-1]
    for start in range(0, len(indices), largest):
        chunk = indices[start : start + largest]
        yield chunk, next(bucket for bucket in buckets if bucket >= len(chunk))
