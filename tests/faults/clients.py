"""Clients that post jobs during faults, and repeat each request until it is accepted."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import httpx

from tests.faults.environment import FILES, Environment

#: How often an accepted request is posted again until it gets a response other than 429 and 503.
REPETITIONS: Final = 20
#: Every fourth request may find the archive of another one; the others have to build theirs.
SHARED_EVERY: Final = 4


@dataclass(kw_only=True)
class Posted:
    """One request, and the job ids in its responses: more than one is a bug."""

    key: str
    user: str
    file_ids: tuple[int, ...]
    #: The folder of the files in the archive, which ends in a slash; empty: at the top.
    folder: str = ""
    job_ids: set[str] = field(default_factory=set)
    #: The body of a response that must not occur.
    unexpected_response: str = ""
    #: Seconds until the slowest 429, 503 or timeout, while the API's process could run.
    slowest_rejection: float = 0.0


class LoadClients:
    """Posts the requests of many users, as many as ``allow`` permits."""

    def __init__(self, environment: Environment, *, jobs: int, users: int, seed: int) -> None:
        self._environment = environment
        self._allowed = threading.Semaphore(0)
        self.posted = list(_requests(jobs, users, random.Random(seed)))
        self._queue = iter(self.posted)
        #: The number of requests that were rejected, by status, and of those without a response.
        self.rejections: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._post_all, daemon=True) for _ in range(8)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def allow(self, jobs: int) -> None:
        """Permit more requests."""
        self._allowed.release(jobs)

    def close(self) -> None:
        """End the threads."""
        self.allow(len(self._threads))

    def repeat(self, http: httpx.Client, posted: Posted) -> None:
        """Post an accepted request again; the response has to name the same job."""
        for _ in range(REPETITIONS):
            if self._post(http, posted):
                return
            time.sleep(0.3)
        posted.unexpected_response = "not accepted again"

    def _post_all(self) -> None:
        with httpx.Client(base_url=self._environment.system.base_url, timeout=10) as http:
            while self._allowed.acquire() and (posted := self._next()) is not None:
                while not self._post(http, posted):
                    time.sleep(0.3)

    def _next(self) -> Posted | None:
        with self._lock:
            return next(self._queue, None)

    def _post(self, http: httpx.Client, posted: Posted) -> bool:
        body = {**_requested_files(posted), "callbackUrl": self._environment.receiver.url}
        headers = {"Idempotency-Key": posted.key, "X-User-Id": posted.user}
        started = time.monotonic()
        try:
            response = http.post("/v1/download/initiate", json=body, headers=headers)
        except httpx.ReadTimeout:
            self._reject(posted, started, "no response")
            return False
        except httpx.TransportError:
            return False
        if response.status_code in {429, 503}:
            self._reject(posted, started, str(response.status_code))
            return False
        if response.status_code == 202:
            posted.job_ids.add(response.json()["jobId"])
        else:
            posted.unexpected_response = response.text
        return True

    def _reject(self, posted: Posted, started: float, reason: str) -> None:
        began = max(started, self._environment.api_continued)
        posted.slowest_rejection = max(posted.slowest_rejection, time.monotonic() - began)
        with self._lock:
            self.rejections[reason] += 1


def _requests(jobs: int, users: int, rng: random.Random) -> Iterator[Posted]:
    ids = [sample.file_id for sample in FILES]
    for number in range(jobs):
        key = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        yield Posted(
            key=key,
            user=f"user-{number % users}",
            file_ids=tuple(rng.sample(ids, rng.randint(2, 4))),
            # A folder of its own makes an archive that no other job has built.
            folder="" if number % SHARED_EVERY == 0 else f"job-{key[:8]}/",
        )


def _requested_files(posted: Posted) -> dict[str, object]:
    if not posted.folder:
        return {"file_ids": posted.file_ids}
    return {"files": [{"file_id": each, "path": posted.folder} for each in posted.file_ids]}
