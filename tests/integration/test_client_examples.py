"""The examples of docs/clients.md, run against an API and a storage that fail."""

from __future__ import annotations

import json
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
JOB_ID = "3f0b7a52-8a44-4d0c-9a55-0d2f6f1f7a10"
START = "POST /v1/download/initiate"
STATUS = f"GET /v1/download/status/{JOB_ID}"
LINK = f"GET /v1/download/{JOB_ID}"
ARCHIVE = bytes(range(256)) * 2000

#: What a server does instead of responding as it should.
Fault = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """The API and the storage."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultyServer

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._serve()

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _serve(self) -> None:
        path = self.path.partition("?")[0]
        server = self.server
        headers = {name.lower(): value for name, value in self.headers.items()}
        server.requests.append((f"{self.command} {self.path}", headers))
        faults = server.faults.get(f"{self.command} {path}")
        if faults:
            faults.pop(0)(self)
        elif path == "/archive":
            self.archive()
        elif path.startswith("/v1/download/status/"):
            self.json(200, next(server.snapshots))
        elif self.command == "POST":
            urls = {"statusUrl": STATUS[4:], "subscribeUrl": "/events", "webSocketUrl": "/socket"}
            self.json(202, {"jobId": JOB_ID, "status": "queued", "progress": 0, **urls})
        else:
            url = f"http://127.0.0.1:{server.server_port}/archive?signature=1"
            self.json(200, {"downloadUrl": url, "fileSize": len(ARCHIVE)})

    def json(self, status: int, body: dict[str, Any], **headers: str) -> None:
        kind = "application/json" if status < 400 or "jobId" in body else "application/problem+json"
        self.respond(status, json.dumps(body).encode(), kind, **headers)

    def respond(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def archive(self, *, cut_after: int | None = None, ranges: bool = True) -> None:
        start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1]) if ranges else 0  # type: ignore[index]
        body = ARCHIVE[start:]
        self.send_response(206 if ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut_after])
        if cut_after is not None:
            self.wfile.flush()
            reset(self)


class FaultyServer(ThreadingHTTPServer):
    """Records requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        #: By method and path: what happens to the next requests.
        self.faults: dict[str, list[Fault]] = {}
        self.snapshots: Iterator[dict[str, Any]] = iter(())
        self.stopped = threading.Event()

    def handle_error(self, *_: object) -> None:
        """Ignore connections that are gone."""


def reset(handler: Handler) -> None:
    """Close the connection with a reset."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.close_connection = True
    handler.connection.close()


def hang(handler: Handler) -> None:
    """Never respond."""
    handler.server.stopped.wait(60)
    handler.close_connection = True


def rejects(status: int, **headers: str) -> Fault:
    body = {"status": status, "code": "CODE", "detail": f"because of {status}"}
    return lambda handler: handler.json(status, body, **headers)


def proxy_error(handler: Handler) -> None:
    handler.respond(502, b"<h1>Bad gateway</h1>", "text/html")


def s3_error(status: int) -> Fault:
    return lambda handler: handler.respond(status, b"<Error><Code>X</Code></Error>", "text/xml")


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    server = FaultyServer()
    states = [("queued", 0), ("processing", 45), ("processing", 90), ("completed", 100)]
    server.snapshots = iter({"status": status, "progress": percent} for status, percent in states)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.stopped.set()
    server.shutdown()
    server.server_close()
    thread.join()


def example(section: str, language: str) -> str:
    """Return the first example of a section of docs/clients.md."""
    _, body = (ROOT / "docs" / "clients.md").read_text().split(f"\n## {section}\n")
    found = re.search(rf"```{language}\n(.*?)```", body, re.DOTALL)
    assert found, f"docs/clients.md has no example in {section}"
    return found[1]


@pytest.fixture
def poll(server: FaultyServer, tmp_path: Path) -> Callable[[], subprocess.CompletedProcess[str]]:
    code = example("Polling", "python")
    assert code.count("timeout=40") == 2
    # Otherwise a server that hangs would take 40 seconds, and eight attempts a minute.
    script = code.replace("timeout=40", "timeout=1").replace("0.5 * 2**attempt", "0.05")
    (tmp_path / "poll.py").write_text(script)

    def run() -> subprocess.CompletedProcess[str]:
        url = f"http://127.0.0.1:{server.server_port}"
        return subprocess.run(
            [sys.executable, "poll.py", url, "10001", "10002"],
            cwd=tmp_path,
            env={"TOKEN": "t0ken"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


Poll = Callable[[], subprocess.CompletedProcess[str]]

TEMPORARY: dict[str, Fault] = {
    "reset": reset,
    "timeout": hang,
    "429": rejects(429, Retry_After="1"),
    "503": rejects(503),
    "proxy error": proxy_error,
}


def test_without_faults_it_takes_few_requests(
    server: FaultyServer, poll: Poll, tmp_path: Path
) -> None:
    done = poll()
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "completed 100"), done.stderr
    assert (tmp_path / "archive.zip").read_bytes() == ARCHIVE
    polls = [path for path, _ in server.requests if path.startswith(STATUS)]
    assert [path.rpartition("&")[2] for path in polls] == [
        "minProgress=20",
        "minProgress=20",
        "minProgress=65",
        "until=finished",
    ]


@pytest.mark.parametrize("path", [START, STATUS, LINK])
@pytest.mark.parametrize("fault", TEMPORARY.values(), ids=TEMPORARY)
def test_temporary_faults_are_survived(
    server: FaultyServer, poll: Poll, tmp_path: Path, path: str, fault: Fault
) -> None:
    server.faults[path] = [fault, fault]
    done = poll()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "archive.zip").read_bytes() == ARCHIVE
    keys = {headers["idempotency-key"] for path, headers in server.requests if path == START}
    assert len(keys) == 1


@pytest.mark.parametrize("status", [401, 404])
@pytest.mark.parametrize("path", [START, STATUS, LINK])
def test_permanent_errors_end_with_the_reason(
    server: FaultyServer, poll: Poll, path: str, status: int
) -> None:
    server.faults[path] = [rejects(status)] * 9
    done = poll()
    assert done.returncode == 1
    assert f"because of {status}" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(server.faults[path]) == 8


S3_FAULTS: dict[str, Fault] = {
    "expired link": s3_error(403),
    "slow down": s3_error(503),
    "reset before the response": reset,
    "timeout": hang,
    "reset in the middle": lambda handler: handler.archive(cut_after=100_000),
    "no ranges": lambda handler: handler.archive(ranges=False),
}


@pytest.mark.parametrize("fault", S3_FAULTS.values(), ids=S3_FAULTS)
def test_errors_of_the_storage_are_survived(
    server: FaultyServer, poll: Poll, tmp_path: Path, fault: Fault
) -> None:
    server.faults["GET /archive"] = [
        lambda handler: handler.archive(cut_after=1000),
        fault,
    ]
    done = poll()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "archive.zip").read_bytes() == ARCHIVE
    # The token is for the API only.
    transfers = [headers for path, headers in server.requests if path.startswith("GET /archive")]
    assert all("authorization" not in headers for headers in transfers)


def test_a_storage_that_keeps_failing_ends_with_the_reason(
    server: FaultyServer, poll: Poll, tmp_path: Path
) -> None:
    server.faults["GET /archive"] = [s3_error(403)] * 20
    done = poll()
    assert (done.returncode, done.stderr) == (1, "The archive could not be downloaded.\n")
    assert not (tmp_path / "archive.zip").exists()


def test_a_cancelled_job_ends_with_its_status(server: FaultyServer, poll: Poll) -> None:
    cancelled = {"jobId": JOB_ID, "status": "cancelled", "progress": 10, "error": None}
    server.faults[STATUS] = [lambda handler: handler.json(410, cancelled)] * 2
    done = poll()
    assert (done.returncode, done.stderr) == (1, "cancelled: None\n")


#: Stands in for a browser: its first stream ends as a rejected one does, the second one works.
BROWSER = """
const fetched = fetch;
globalThis.fetch = (url, options) => fetched(new URL(url, process.argv[2]), options);
let opened = 0;
const job = (status) => JSON.stringify({ status });
class Stream {
  static CLOSED = 2;
  readyState = 0;
  listeners = {};
  constructor() {
    setTimeout(opened++ ? () => this.work() : () => this.break(), 10);
  }
  addEventListener(name, listener) { this.listeners[name] = listener; }
  close() {}
}
globalThis.EventSource = class extends Stream {
  break() { this.readyState = 2; this.onerror(); }
  work() {
    for (const [name, status] of [["progress", "processing"], ["completed", "completed"]]) {
      this.listeners[name]?.({ data: job(status) });
      this.onmessage?.({ data: job(status) });
    }
  }
};
globalThis.WebSocket = class extends Stream {
  break() { this.onclose({ code: 1012 }); }
  work() {
    for (const status of ["processing", "completed"]) this.onmessage({ data: job(status) });
    this.onclose({ code: 1000 });
  }
};
"""
MAIN = """
const shown = [];
download([1, 2], ({ status }) => shown.push(status)).then(
  ({ status }) => console.log(shown[0], status, opened),
  (error) => { console.error(error.message); process.exit(1); },
);
"""
LIVE = ("Server-sent events, with names", "Server-sent events, without names", "WebSocket")


@pytest.fixture(params=LIVE)
def download(
    request: pytest.FixtureRequest, server: FaultyServer, tmp_path: Path
) -> Callable[[], subprocess.CompletedProcess[str]]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    requests = example("Requests from a browser", "js")
    assert requests.count("15_000") == requests.count("0.5 * 2 ** attempt") == 1
    requests = requests.replace("15_000", "300").replace("0.5 * 2 ** attempt", "0.05")
    parts = (BROWSER, requests, example(request.param, "js").replace("1000 +", "10 +"), MAIN)
    (tmp_path / "run.mjs").write_text("\n".join(parts))

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [node, "run.mjs", f"http://127.0.0.1:{server.server_port}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_browser_examples_survive_temporary_faults(server: FaultyServer, download: Poll) -> None:
    for path in (START, STATUS):
        server.faults[path] = [reset, hang, rejects(429), rejects(503), proxy_error]
    done = download()
    assert (done.returncode, done.stdout) == (0, "processing completed 2\n"), done.stderr
    keys = {headers["idempotency-key"] for path, headers in server.requests if path == START}
    assert len(keys) == 1


@pytest.mark.parametrize("status", [401, 404])
@pytest.mark.parametrize("path", [START, STATUS])
def test_browser_examples_end_with_the_reason(
    server: FaultyServer, download: Poll, path: str, status: int
) -> None:
    server.faults[path] = [rejects(status)]
    done = download()
    assert done.returncode == 1
    assert f"because of {status}" in done.stderr
