"""An HTTP origin with the faults of real ones, on a free port of the loopback interface."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Page:
    """One file, and how the origin serves it."""

    content: bytes
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    strong_etag: bool = True
    knows_size: bool = True
    supports_head: bool = True
    #: Statuses of the first responses, before the file is served.
    error_statuses: list[int] = field(default_factory=list)
    #: The connection breaks after so many bytes of the body, once for each entry.
    broken_at: list[int] = field(default_factory=list)
    #: Seconds of waiting before each block of 1,000 bytes.
    delay: float = 0.0
    redirect: str | None = None

    @property
    def etag(self) -> str:
        digest = hashlib.sha256(self.content).hexdigest()[:16]
        return f'"{digest}"' if self.strong_etag else f'W/"{digest}"'


class Origin:
    """Serves ``pages`` by path, and records the requests."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        #: The addresses of the connections that sent requests.
        self.peers: set[tuple[str, int]] = set()
        origin = self

        class Handler(_Handler):
            def page(self) -> Page | None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                origin.requests.append((self.command, self.path, headers))
                origin.peers.add(self.client_address)
                return origin.pages.get(self.path)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def ranges(self) -> list[str]:
        return [h["range"] for _, _, h in self.requests if "range" in h]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def page(self) -> Page | None:
        raise NotImplementedError

    def log_message(self, *_: Any) -> None:
        return

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def do_GET(self) -> None:
        self._serve(body=True)

    def _serve(self, *, body: bool) -> None:
        page = self.page()
        if page is None:
            self._send_error(404)
        elif page.error_statuses:
            self._send_error(page.error_statuses.pop(0))
        elif page.redirect:
            self.send_response(302)
            self.send_header("location", page.redirect)
            self.send_header("content-length", "0")
            self.end_headers()
        elif not body and not page.supports_head:
            self._send_error(405)
        else:
            self._send(page, body=body)

    def _send_error(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def _send(self, page: Page, *, body: bool) -> None:
        start, end = 0, len(page.content)
        wanted = self.headers.get("range")
        condition = self.headers.get("if-range")
        partial = bool(wanted and page.ranges and condition in (None, page.etag))
        if partial and wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), int(last) + 1 if last else end
        self.send_response(206 if partial else 200)
        self.send_header("etag", page.etag)
        if page.ranges:
            self.send_header("accept-ranges", "bytes")
        if partial:
            self.send_header("content-range", f"bytes {start}-{end - 1}/{len(page.content)}")
        if page.knows_size:
            self.send_header("content-length", str(end - start))
        elif body:
            self.send_header("transfer-encoding", "chunked")
        for name, value in page.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self._body(page, page.content[start:end])

    def _body(self, page: Page, content: bytes) -> None:
        broken_at = page.broken_at.pop(0) if page.broken_at and len(content) > 1 else None
        for at in range(0, len(content), 1000):
            block = content[at : at + 1000]
            if broken_at is not None and at + len(block) > broken_at:
                if broken_at > at:
                    self.wfile.write(self._framed(page, block[: broken_at - at]))
                self.close_connection = True
                self.connection.close()
                return
            time.sleep(page.delay)
            self.wfile.write(self._framed(page, block))
        if not page.knows_size:
            self.wfile.write(b"0\r\n\r\n")

    def _framed(self, page: Page, block: bytes) -> bytes:
        return block if page.knows_size else b"%x\r\n%s\r\n" % (len(block), block)
