"""W3C Trace Context: the caller's trace goes into records and log lines, and on to the model; spans where OpenTelemetry is.

Without the extra `otel`, or without `OTEL_EXPORTER_OTLP_ENDPOINT`, nothing of OpenTelemetry is imported here, and a span costs
one comparison. https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@dataclass(frozen=True)
class Trace:
    """Where a request stands in a distributed trace."""

    id: str
    """32 hexadecimal digits."""
    span: str
    """16 hexadecimal digits: the span that whoever is called next is a child of."""
    flags: str = "01"

    def header(self) -> str:
        """The `traceparent` of a request made on this one's behalf."""
        return f"00-{self.id}-{self.span}-{self.flags}"


current: ContextVar[Trace | None] = ContextVar("trace", default=None)
"""Of the request that is being answered."""
prediction: ContextVar[str] = ContextVar("prediction", default="")
"""The id that log lines are about."""


class _Spans:
    """Whom spans are sent to; nobody, unless `install` found somebody."""

    tracer: Any = None


_spans = _Spans()


def parse(header: str | None) -> Trace | None:
    """The caller's place in a trace; None without a header, and for one that is malformed, which the standard has ignored."""
    found = _TRACEPARENT.fullmatch(header.strip()) if header else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or set(trace) == {"0"} or set(span) == {"0"}:
        return None
    return Trace(trace, span, flags)


@contextmanager
def request(header: str | None, name: str) -> Iterator[Trace | None]:
    """The trace of one request, current until the block ends; with OpenTelemetry a server span around it."""
    given = parse(header)
    if _spans.tracer is None:
        mine = None if given is None else Trace(given.id, secrets.token_hex(8), given.flags)
        reset = current.set(mine)
        try:
            yield mine
        finally:
            current.reset(reset)
        return
    with _server_span(name, given) as mine:
        yield mine


def sending() -> bool:
    """Whether spans are sent somewhere."""
    return _spans.tracer is not None


def stage(name: str, seconds: float) -> None:
    """A span that ends now and took so long, below the request's; nothing without OpenTelemetry."""
    if _spans.tracer is not None:
        end = time.time_ns()
        _spans.tracer.start_span(name, start_time=end - int(1e9 * seconds)).end(end_time=end)


def about(prediction_id: str) -> None:
    """From here on the request's log lines, and its span, are about this prediction."""
    prediction.set(prediction_id)
    if _spans.tracer is not None:
        from opentelemetry import trace

        trace.get_current_span().set_attribute("secondreader.prediction", prediction_id)


def install(exporter: Any = None) -> Callable[[], None] | None:
    """Begins to send spans where the environment says; what flushes and ends it, or None where nobody listens or the extra is
    not installed. `exporter` is for tests."""
    if exporter is None and not os.environ.get(ENDPOINT):
        return None
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    except ImportError:
        return None
    provider = TracerProvider(resource=Resource.create({"service.name": "secondreader"}), shutdown_on_exit=False)
    if exporter is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    else:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    _spans.tracer = provider.get_tracer("secondreader")

    def end() -> None:
        _spans.tracer = None
        provider.shutdown()

    return end


@contextmanager
def _server_span(name: str, given: Trace | None) -> Iterator[Trace]:
    from opentelemetry import trace

    context = None
    if given is not None:
        remote = trace.SpanContext(
            int(given.id, 16), int(given.span, 16), is_remote=True, trace_flags=trace.TraceFlags(int(given.flags, 16))
        )
        context = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    with _spans.tracer.start_as_current_span(name, context=context, kind=trace.SpanKind.SERVER) as span:
        known = span.get_span_context()
        mine = Trace(f"{known.trace_id:032x}", f"{known.span_id:016x}", f"{int(known.trace_flags):02x}")
        reset = current.set(mine)
        try:
            yield mine
        finally:
            current.reset(reset)
