"""A receiver of webhooks that records them."""

from __future__ import annotations

import http.server
import json
import threading
from collections import defaultdict
from typing import Any

from common.jobs.transitions import JobState


class HoldableReceiver:
    """Listens on a free port. ``ids`` has the webhook ids per job and status."""

    def __init__(self) -> None:
        self.ids: dict[tuple[str, str], set[str]] = defaultdict(set)
        #: The webhook ids by job of posts that got no response.
        self.unanswered_ids: dict[str, set[str]] = defaultdict(set)
        self._responding = threading.Event()
        self._responding.set()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if receiver.record(body["data"], self.headers["webhook-id"]):
                    self.send_response(204)
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing: a soak makes thousands of calls."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def record(self, job: dict[str, Any], webhook_id: str) -> bool:
        """Record a post; return whether to respond. Posts that were held get no response."""
        if not self._responding.is_set():
            self.unanswered_ids[job["jobId"]].add(webhook_id)
            self._responding.wait(120)
            return False
        self.ids[job["jobId"], job["status"]].add(webhook_id)
        return True

    def of_job(self, job_id: str) -> dict[str, set[str]]:
        """Return the webhook ids of a job by its status."""
        found = {status.value: self.ids.get((job_id, status.value), set()) for status in JobState}
        return {status: ids for status, ids in found.items() if ids}

    @property
    def held(self) -> int:
        """Return the number of jobs whose posts got no response."""
        return len(self.unanswered_ids)

    def hold(self) -> None:
        """Accept posts from now on, but do not respond."""
        self._responding.clear()

    def respond(self) -> None:
        """Respond to posts again. Those that were held get no response."""
        self._responding.set()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
