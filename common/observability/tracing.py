"""Traces with OpenTelemetry, if a collector is configured; otherwise the library is not imported.

A trace comes in with the request's ``traceparent`` (W3C Trace Context), is stored in the job's hash
and continues in the worker that runs the job.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

Kind = Literal["internal", "server", "client", "consumer"]

_TRACEPARENT: Final = re.compile(
    r"00-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z"
)
#: Maximum number of spans that wait to be sent; further ones are dropped.
_MAX_QUEUE: Final = 4_096
#: Seconds that sending a batch may take.
_TIMEOUT: Final = 5

_tracer: Tracer | None = None


def start_tracing(endpoint: str, *, service: str, ratio: float) -> None:
    """Send the spans of this process to a collector (OTLP over HTTP); does nothing without one.

    ``ratio``: share of the traces started here that are recorded. For others the caller decides.
    """
    if not endpoint:
        return
    # An optional dependency that takes 15 MB of memory.
    from opentelemetry import trace as api
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    global _tracer
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_TIMEOUT)
    provider = TracerProvider(
        resource=Resource.create({"service.name": service}),
        sampler=ParentBasedTraceIdRatio(ratio),
    )
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=_MAX_QUEUE, schedule_delay_millis=1_000)
    )
    api.set_tracer_provider(provider)
    _tracer = provider.get_tracer("longhaul")


def enabled() -> bool:
    """Return whether spans are recorded."""
    return _tracer is not None


def valid_traceparent(traceparent: str | None) -> str | None:
    """Return the header if it is valid (version 00), else None."""
    return traceparent if traceparent and _TRACEPARENT.match(traceparent) else None


def trace_id(traceparent: str | None) -> str | None:
    """Return the trace id, 32 hexadecimal digits."""
    found = _TRACEPARENT.match(traceparent or "")
    return found["trace"] if found else None


class Span:
    """A span, or nothing where no trace is recorded."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def set(self, name: str, value: str | int | float | bool | None) -> None:
        """Add an attribute, unless the value is None."""
        if self._span is not None and value is not None:
            self._span.set_attribute(name, value)

    def fail(self, reason: str) -> None:
        """Mark the span as failed."""
        if self._span is not None:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, reason))


#: What ``span`` returns for a span that is not recorded, as most are not.
_UNRECORDED: Final = nullcontext(Span())


def span(
    name: str,
    *,
    kind: Kind = "internal",
    parent: str | None = None,
    start: int | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> AbstractContextManager[Span]:
    """Record the block as a span, as a child of ``parent`` (a traceparent) or the current span.

    Only a ``server`` span starts a trace: background work, such as heartbeats, is not traced.
    ``start``: milliseconds since 1970, if the span started before now.
    """
    if _tracer is None or not (parent or kind == "server" or current()):
        return _UNRECORDED
    return _record(_tracer, name, kind, parent, start, attributes)


@contextmanager
def _record(
    tracer: Tracer,
    name: str,
    kind: Kind,
    parent: str | None,
    start: int | None,
    attributes: Mapping[str, Any] | None,
) -> Iterator[Span]:
    from opentelemetry.trace import SpanKind

    with tracer.start_as_current_span(
        name,
        context=_context(parent) if parent else None,
        kind=SpanKind[kind.upper()],
        attributes=attributes,
        start_time=None if start is None else start * 1_000_000,
        # Error messages may contain user data.
        record_exception=False,
    ) as recorded:
        yield Span(recorded)


def current() -> str | None:
    """Return the traceparent of the current span, or None."""
    if _tracer is None:
        return None
    from opentelemetry import trace as api

    context = api.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _context(traceparent: str) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent})
