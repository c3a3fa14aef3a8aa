"""Helpers for tests with gigabytes: large files, an HTTP origin, a client, memory use."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from stack.sample_catalog import BUCKET, s3_client
from stack.system import System

MIB = 1024**2
GIB = 1024**3
PART = 64 * MIB
RUNNING = {"queued", "processing"}


def fill(system: System, sizes: Sequence[int]) -> None:
    """Create files 1, 2, …, whose sizes are multiples of 64 MiB, by copying one uploaded part."""
    s3 = s3_client(system.s3_endpoint)
    s3.put_object(Bucket=BUCKET, Key="part", Body=os.urandom(PART))
    for number, size in enumerate(sizes, start=1):
        target: Any = {"Bucket": BUCKET, "Key": str(number)}
        target["UploadId"] = s3.create_multipart_upload(**target)["UploadId"]
        parts: list[Any] = []
        for index in range(1, size // PART + 1):
            response = s3.upload_part_copy(**target, PartNumber=index, CopySource=f"{BUCKET}/part")
            parts.append({"PartNumber": index, "ETag": response["CopyPartResult"]["ETag"]})
        s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})


@contextmanager
def chunked_origin(size: int) -> Iterator[str]:
    """Run an HTTP server whose files have ``size`` bytes but no Content-Length; yield its URL."""
    chunk = b"100000\r\n" + os.urandom(MIB) + b"\r\n"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            for _ in range(size // MIB):
                self.wfile.write(chunk)
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class Client:
    """An API client that waits for large archives."""

    def __init__(self, system: System) -> None:
        self._http = httpx.Client(base_url=system.base_url, timeout=30)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def post(self, file_ids: Sequence[int]) -> dict[str, Any]:
        response = self._http.post("/v1/download/initiate", json={"file_ids": list(file_ids)})
        return dict(response.raise_for_status().json())

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self._http.get(f"/v1/download/status/{job_id}").json())

    def wait_until_completed(self, job_id: str) -> dict[str, Any]:
        """Return the completed job; the timeout of the test limits the wait."""
        while (job := self.job(job_id))["status"] in RUNNING:
            time.sleep(0.5)
        assert job["status"] == "completed", job
        return job


@contextmanager
def peak_memory(pid: int) -> Iterator[list[float]]:
    """Sample the resident memory of a process; the list's only item is the maximum in MiB."""
    peak, stopped = [0.0], threading.Event()

    def watch() -> None:
        while not stopped.wait(0.05):
            peak[0] = max(peak[0], resident_mib(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        stopped.set()
        watcher.join()


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")
