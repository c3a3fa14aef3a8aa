"""Gigabytes for tests: files made by copies of one part, an origin, and a look at a process."""

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
    """Files 1, 2, … of multiples of 64 MiB, each by copies of one part that is sent once."""
    s3 = s3_client(system.s3_endpoint)
    s3.put_object(Bucket=BUCKET, Key="part", Body=os.urandom(PART))
    for number, size in enumerate(sizes, start=1):
        where: Any = {"Bucket": BUCKET, "Key": str(number)}
        where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
        parts: list[Any] = []
        for index in range(1, size // PART + 1):
            answer = s3.upload_part_copy(**where, PartNumber=index, CopySource=f"{BUCKET}/part")
            parts.append({"PartNumber": index, "ETag": answer["CopyPartResult"]["ETag"]})
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})


@contextmanager
def chunked_origin(size: int) -> Iterator[str]:
    """An HTTP server whose files all have ``size`` bytes, which it does not tell; gives its URL."""
    chunk = b"100000\r\n" + os.urandom(MIB) + b"\r\n"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

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
    """A user of the system who waits for large archives."""

    def __init__(self, system: System) -> None:
        self._http = httpx.Client(base_url=system.base_url, timeout=30)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def post(self, file_ids: Sequence[int]) -> dict[str, Any]:
        answer = self._http.post("/v1/download/initiate", json={"file_ids": list(file_ids)})
        return dict(answer.raise_for_status().json())

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self._http.get(f"/v1/download/status/{job_id}").json())

    def until_done(self, job_id: str) -> dict[str, Any]:
        """The finished job; the test's own time limit ends the wait."""
        while (job := self.job(job_id))["status"] in RUNNING:
            time.sleep(0.5)
        assert job["status"] == "completed", job
        return job


@contextmanager
def peak_memory(pid: int) -> Iterator[list[float]]:
    """The most MiB that the process was seen to have resident, as the list's only item."""
    peak, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], resident_mib(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")
