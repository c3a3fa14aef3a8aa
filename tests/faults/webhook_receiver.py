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
        #: The same by job, of posts that came while answers were held back.
        self.first_tries: dict[str, set[str]] = defaultdict(set)
        self._answers = threading.Event()
        self._answers.set()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if receiver.take(body["data"], self.headers["webhook-id"]):
                    self.send_response(204)
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet: a soak makes thousands of calls."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, job: dict[str, Any], webhook_id: str) -> bool:
        """Note a post; False for one that was held and whose sender is gone by now."""
        if not self._answers.is_set():
            self.first_tries[job["jobId"]].add(webhook_id)
            self._answers.wait(120)
            return False
        self.ids[job["jobId"], job["status"]].add(webhook_id)
        return True

    @property
    def held(self) -> int:
        """How many posts came that have no answer yet."""
        return len(self.first_tries)

    def hold(self) -> None:
        """Take posts from now on, but answer none."""
        self._answers.clear()

    def let_go(self) -> None:
        """Answer what comes; what was held gets no answer any more."""
        self._answers.set()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
