"""ONNX Runtime session over a bundle: a batch of images -> predictions. Knows no server's name."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model_store.bundle import Bundle, file_digest
from model_store.decode import decode
from model_store.errors import BundleError, ImageError, ProviderUnavailable
from model_store.prediction import Prediction, check_scores
from model_store.preprocess import preprocess

ProviderName = Literal["cpu", "cuda"]
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
OUTPUTS = ("probability", "typicality", "embedding")
GOLDEN_TOLERANCE = {"fp32": 2e-3, "fp16": 2e-2, "int8": 5e-2}
"""Largest difference of a golden probability between machines: kernels differ, models do not."""
TYPICALITY_TOLERANCE = 0.05
"""The same for typicality, which is a rank among tuning images: near neighbours change places easily."""
_FLOAT16_MAX = float(np.finfo(np.float16).max)
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
        if wanted not in onnxruntime.get_available_providers():
            raise ProviderUnavailable(
                f"{provider} was asked for and this onnxruntime does not have it; "
                "install onnxruntime-gpu and its CUDA, or ask for cpu"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads  # the default counts the host's cores and ignores the container's share
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning steals the decoder's core
        options.log_severity_level = 3
        providers: list[Any] = [wanted]
        if provider == "cuda":
            onnxruntime.preload_dlls()
            providers = [(wanted, {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"})]
        if file_digest(bundle.graph) != bundle.manifest.graph_digest:  # every prediction will claim this digest
            raise BundleError(f"{bundle.graph} is not the graph that the manifest names; copy the whole bundle again")
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
        _check_fits(bundle, [*session.get_inputs(), *session.get_outputs()])
        return cls(bundle, session, provider)

    def warm(self) -> None:
        """Runs every batch size once, so that no caller pays for the first."""
        image = self.bundle.golden().image[:1]
        for size in _BUCKETS[self.provider]:
            self.run(np.repeat(image, size, axis=0))

    def run(self, image: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], ...]:
        """`[n, H, W, 3]` -> probability `[n, C]`, typicality `[n]`, embedding `[n, D]`, all float32."""
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
                    embedding=embedding[row].clip(-_FLOAT16_MAX, _FLOAT16_MAX).astype(np.float16),
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
            apart = float(np.abs(result.probability - golden.probability[index]).max())
            moved = float(np.abs(result.typicality - golden.typicality[index]))
            if not (apart <= GOLDEN_TOLERANCE[self.bundle.manifest.precision] and moved <= TYPICALITY_TOLERANCE):
                raise BundleError(
                    f"{self.bundle.folder}: golden image {index} differs by {apart:.4f} on {self.provider}, "
                    f"its typicality by {moved:.4f}; this machine does not run the model that was certified"
                )


def _check_fits(bundle: Bundle, tensors: Sequence[Any]) -> None:
    """Raises BundleError unless the graph's input and outputs have the manifest's names, types and sizes."""
    manifest = bundle.manifest
    spec = manifest.image
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {
        "image": (f"tensor({spec.dtype})", (spec.height, spec.width, 3)),
        "probability": ("tensor(float)", (len(manifest.heads),)),
        "typicality": ("tensor(float)", ()),
        "embedding": ("tensor(float)", (manifest.embedding,)),
    }
    given = {tensor.name: tensor for tensor in tensors}
    for name, (kind, sizes) in wanted.items():
        if name not in given:
            raise BundleError(f"{bundle.graph} has no {name!r} but {sorted(given)}; export it again")
        tensor = given[name]
        fixed = [size if isinstance(size, int) else None for size in tensor.shape[1:]]  # the rest is known at run time
        same = len(fixed) == len(sizes) and all(has in (None, size) for has, size in zip(fixed, sizes, strict=True))
        if tensor.type != kind or not same:
            raise BundleError(
                f"{bundle.graph}: {name} is {tensor.type} {tensor.shape} and the manifest says {kind} "
                f"{['n', *sizes]}; export it again"
            )


def _chunks(indices: list[int], buckets: tuple[int, ...]) -> Iterator[tuple[list[int], int]]:
    """Splits into runs of at most the largest bucket; each comes with the bucket it is padded to."""
    largest = buckets[-1]
    for start in range(0, len(indices), largest):
        chunk = indices[start : start + largest]
        yield chunk, next(bucket for bucket in buckets if bucket >= len(chunk))
