"""Stop the object storage for two minutes, and restart an API container, under load.

Run ``python -m deploy.podman.outage_test`` with the variables of ``.env`` in the environment, after
``smoke_test``, which uploads the sample files. Exits with an error if a request failed, or if
an accepted job did not complete.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from deploy.podman.smoke_test import API, FILES_PER_JOB, JOBS

STORAGE, RESTARTED_API = "longhaul_seaweedfs_1", "longhaul_api_1"
#: Seconds: between two new jobs, before the outage, its length, after it, and after the restart.
INTERVAL = 0.5
BEFORE, OUTAGE, AFTER, LAST = 10.0, 120.0, 30.0, 20.0
#: Seconds within which all accepted jobs have to end.
TIMEOUT = 300.0
POLL_PAUSE = 0.05


@dataclass
class Clients:
    """Starts a job now and then, each as another user, and polls those that have not ended."""

    http: httpx.Client
    started: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    requests: int = 0
    slowest: float = 0.0

    def run_for(self, seconds: float) -> None:
        """Start jobs and poll for so long."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            self.start()
            while time.monotonic() < now + INTERVAL:
                self.poll()
                time.sleep(POLL_PAUSE)

    def start(self) -> None:
        file_ids = random.sample(range(1, JOBS * FILES_PER_JOB + 1), 2)
        user = f"outage-{len(self.started)}"
        body = self._send("POST", "/v1/download/initiate", user, {"file_ids": file_ids})
        if body is not None:
            self.started[body["jobId"]] = user

    def poll(self) -> None:
        """Poll the job that was polled longest ago."""
        active = [
            job for job in self.started if self.statuses.get(job) not in ("completed", "failed")
        ]
        if not active:
            return
        job = active[0]
        user = self.started.pop(job)
        self.started[job] = user
        body = self._send("GET", f"/v1/download/status/{job}", user, None)
        if body is not None:
            self.statuses[job] = body["status"]

    def _send(self, method: str, path: str, user: str, body: object) -> dict[str, str] | None:
        self.requests += 1
        began = time.monotonic()
        try:
            response = self.http.request(method, path, json=body, headers={"X-User-Id": user})
        except httpx.HTTPError as error:
            self.failed.append(f"{method}: {error!r}")
            return None
        self.slowest = max(self.slowest, time.monotonic() - began)
        if response.status_code not in (200, 202):
            self.failed.append(f"{method}: {response.status_code} {response.text[:200]}")
            return None
        return dict(response.json())

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.statuses.get(job, "accepted") for job in self.started)


def podman(*arguments: str) -> None:
    subprocess.run(["podman", *arguments], check=True, capture_output=True)


def main() -> None:
    with httpx.Client(base_url=API, timeout=30) as http:
        clients = Clients(http)
        clients.run_for(BEFORE)
        print("before:", dict(clients.counts))
        podman("stop", STORAGE)
        clients.run_for(OUTAGE)
        print("object storage stopped for 2 minutes:", dict(clients.counts))
        podman("start", STORAGE)
        clients.run_for(AFTER)
        restart = subprocess.Popen(["podman", "restart", RESTARTED_API])
        clients.run_for(LAST)
        restart.wait(60)
        clients.run_for(LAST)
        end = time.monotonic() + TIMEOUT
        while set(clients.counts) - {"completed", "failed"} and time.monotonic() < end:
            clients.poll()
            time.sleep(POLL_PAUSE)
    print(
        f"{len(clients.started)} jobs accepted: {dict(clients.counts)}; "
        f"{clients.requests} requests, the slowest took {clients.slowest:.1f} s; "
        f"{len(clients.failed)} failed"
    )
    for line in clients.failed[:10]:
        print(line)
    if clients.failed or set(clients.counts) != {"completed"}:
        raise SystemExit("a request failed, or an accepted job was lost")


if __name__ == "__main__":
    main()
