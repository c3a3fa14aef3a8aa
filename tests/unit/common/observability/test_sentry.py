"""Unexpected errors are reported to Sentry's API, without secrets and without user data."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from common.version import VERSION

PROGRAM = """
import sys
from common.observability.sentry import report_errors
report_errors(sys.argv[1], service="worker", environment="staging", secrets=["hunter22"])
import sentry_sdk, structlog
structlog.contextvars.bind_contextvars(job_id="a-job", attempt=2)
def work(local):
    raise RuntimeError("redis://:pa55word@h says hunter22")
try:
    work("what-a-user-sent")
except RuntimeError:
    sentry_sdk.capture_exception()
sentry_sdk.flush(5)
"""


def test_a_report_contains_the_error_but_no_secret() -> None:
    bodies: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            bodies.append(body.decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        dsn = f"http://key@127.0.0.1:{server.server_port}/1"
        subprocess.run([sys.executable, "-c", PROGRAM, dsn], check=True, timeout=60)
        server.shutdown()
    (report,) = [body for body in bodies if "RuntimeError" in body]
    assert "redis://:***@h says ***" in report
    *_, event = report.splitlines()
    members = json.loads(event)
    assert members["release"] == f"longhaul@{VERSION}"
    assert members["environment"] == "staging"
    assert members["tags"] == {"service": "worker", "job_id": "a-job"}
    assert "what-a-user-sent" not in report.replace('work(\\"what-a-user-sent\\")', "")


def test_sentry_is_not_imported_without_a_dsn() -> None:
    program = (
        "import sys; from common.observability import sentry, tracing;"
        "sentry.report_errors('', service='x', environment='y');"
        "tracing.start_tracing('', service='x', ratio=1);"
        "sys.exit(any(name.startswith(('sentry_sdk', 'opentelemetry')) for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
