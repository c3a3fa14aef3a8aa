"""A receiver of webhooks that remembers what it got."""

from __future__ import annotations

import http.server
import json
import threading
from collections import defaultdict
from typing import Any


class Receiver:
    """Listens on a free port; ``ids`` has, per job and event type, the webhook ids that came."""

    def __init__(self) -> None:
        self.ids: dict[tuple[str, str], set[str]] = defaultdict(set)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                job: dict[str, Any] = body["data"]
                receiver.ids[job["jobId"], job["status"]].add(self.headers["webhook-id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet: a soak makes thousands of calls."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
