"""A trace goes from the browser's request through API, queue and worker to S3."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from stack.process import wait_until
from stack.sample_catalog import SMALL
from stack.system import System

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BROWSER = "00f067aa0ba902b7"


class Collector:
    """Receives spans by OTLP over HTTP, like any collector."""

    def __init__(self) -> None:
        #: (Name of the service that sent it, span).
        self.spans: list[tuple[str, Span]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.record(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def record(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            names = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(names["service.name"], span) for span in scope.spans]

    def of_trace(self, trace: str) -> list[tuple[str, Span]]:
        return [(name, span) for name, span in self.spans if span.trace_id.hex() == trace]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.mark.timeout(180)
def test_a_trace_is_one_tree_from_the_browser_to_the_object_storage(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = tmp_path_factory.mktemp("traced")
    env = {"OTLP_ENDPOINT": collector.endpoint}
    with System(state, files=SMALL, env=env) as system:
        response = httpx.post(
            f"{system.base_url}/v1/download/initiate",
            json={"file_ids": [10001, 10002]},
            headers={"traceparent": f"00-{TRACE}-{BROWSER}-01", "Prefer": "wait=30"},
            timeout=40,
        )
        assert response.json()["status"] == "completed"
        wait_until(
            lambda: {"attempt", "queue"} <= {span.name for _, span in collector.of_trace(TRACE)},
            "the worker's spans",
        )
        wait_until(
            lambda: any(
                span.kind == Span.SPAN_KIND_SERVER for _, span in collector.of_trace(TRACE)
            ),
            "the API's spans",
        )
        lines = system.log("worker-1").read_text().splitlines()
        logged = [json.loads(line) for line in lines if line.startswith("{")]

    spans = {span.span_id.hex(): (service, span) for service, span in collector.of_trace(TRACE)}
    by_name = {span.name: (service, span) for service, span in spans.values()}
    service, request = by_name["POST /v1/download/initiate"]
    assert (service, request.parent_span_id.hex()) == ("longhaul-api", BROWSER)
    for name in ("queue", "attempt"):
        service, span = by_name[name]
        assert service == "longhaul-worker"
        assert span.parent_span_id == request.span_id
    queue, attempt = by_name["queue"][1], by_name["attempt"][1]
    assert queue.start_time_unix_nano < queue.end_time_unix_nano <= attempt.end_time_unix_nano
    assert by_name["store create"][1].parent_span_id == request.span_id

    to_storage = [span for _, span in spans.values() if span.name.startswith("S3 ")]
    assert {"S3 UploadPart", "S3 PUT object"} & {span.name for span in to_storage}
    assert all(span.parent_span_id == attempt.span_id for span in to_storage)
    # One tree: the parent of every span is in the trace, or is the browser's span.
    assert {span.parent_span_id.hex() for _, span in spans.values()} <= {*spans, BROWSER}

    of_job = [line for line in logged if line.get("job_id") == response.json()["jobId"]]
    assert of_job
    assert {line["trace_id"] for line in of_job} == {TRACE}
    # Work that no request caused is in no trace.
    assert not [span for _, span in collector.spans if span.name == "store heartbeat"]
