"""The settings of real deployments under which the fast path has to respond like Flask."""

from __future__ import annotations

from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from common.observability import tracing
from tests.unit.api.auth.test_authorization import SECRET

NOW: Final = 1_790_000_000.5
#: Expiry of tokens: the JWT library reads a clock that the tests do not set.
FAR_FUTURE: Final = 9_000_000_000
REQUEST_ID: Final = {"X-Request-ID": "the-same"}
TRACEPARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
JWT: Final[dict[str, Any]] = {
    "auth_mode": "jwt",
    "jwt_secret": SECRET,
    "jwt_audience": "longhaul",
}
CORS_SETTINGS: Final = ["https://app.example", "https://app.example, https://b.example", "*"]
#: What a browser sends, or a client that is none.
ORIGIN_HEADERS: Final[list[dict[str, str]]] = [
    {},
    {"Origin": "https://app.example"},
    {"Origin": "https://APP.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "https://app.example", "Access-Control-Request-Private-Network": "true"},
]


class Spans:
    """Collects the spans that ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def take_server_spans(self) -> list[ReadableSpan]:
        """Return the spans of requests since the last call."""
        spans = [
            span for span in self._exporter.get_finished_spans() if span.kind is SpanKind.SERVER
        ]
        self._exporter.clear()
        return spans


def described(spans: list[ReadableSpan]) -> list[dict[str, Any]]:
    """Return the parts of the spans that both paths have in common: all but ids and times."""
    return [
        {
            "name": span.name,
            "kind": span.kind,
            "attributes": dict(span.attributes or {}),
            "status": (span.status.status_code, span.status.description),
            "parent": span.parent and (span.parent.trace_id, span.parent.span_id),
        }
        for span in spans
    ]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """Turn tracing on."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    return Spans(exporter)
