"""A server that records webhooks and responds as the test defines."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from stack.process import wait_until


@dataclass(kw_only=True)
class Post:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(kw_only=True)
class Receiver:
    """Records ``posts``; sends the ``responses`` in order, and repeats the last one."""

    port: int = 0
    posts: list[Post] = field(default_factory=list)
    #: Status and extra headers.
    responses: list[tuple[int, dict[str, str]]] = field(default_factory=lambda: [(204, {})])

    def url(self, path: str = "/hook", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def wait_for(self, count: int) -> list[Post]:
        wait_until(lambda: len(self.posts) >= count, f"{count} webhooks", timeout=15)
        return self.posts


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.posts.append(Post(path=self.path, headers=headers, body=body))
            responses = receiver.responses
            status, extra = responses.pop(0) if len(responses) > 1 else responses[0]
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
