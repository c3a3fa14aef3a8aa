"""Clients that post jobs through every fault, as a patient back end would."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx

from tests.faults.environment import FILES, Arena


@dataclass(kw_only=True)
class Posted:
    """One request, and the ids of the jobs that its answers named: exactly one, or it is a bug."""

    key: str
    user: str
    file_ids: tuple[int, ...]
    job_ids: set[str] = field(default_factory=set)
    #: An answer that nobody expects.
    never_to_be_seen: str = ""
    #: Seconds that the slowest refusal took.
    slowest_refusal: float = 0.0


class StreamLoop:
    """Posts requests from many users when they are let in; each is repeated until it is taken."""

    def __init__(self, arena: Arena, *, jobs: int, users: int, seed: int) -> None:
        self._arena = arena
        self._let_in = threading.Semaphore(0)
        self.posted = list(_requests(jobs, users, random.Random(seed)))
        self._queue = iter(self.posted)
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._post_all, daemon=True) for _ in range(8)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def let_in(self, jobs: int) -> None:
        """So many more may post now."""
        self._let_in.release(jobs)

    def close(self) -> None:
        """Nobody comes any more."""
        self.let_in(len(self._threads))

    def _post_all(self) -> None:
        with httpx.Client(base_url=self._arena.system.base_url, timeout=10) as http:
            while self._let_in.acquire() and (posted := self._next()) is not None:
                while not self._post(http, posted):
                    time.sleep(0.3)

    def _next(self) -> Posted | None:
        with self._lock:
            return next(self._queue, None)

    def _post(self, http: httpx.Client, posted: Posted) -> bool:
        body = {"file_ids": posted.file_ids, "callbackUrl": self._arena.receiver.url}
        headers = {"Idempotency-Key": posted.key, "X-User-Id": posted.user}
        started = time.monotonic()
        try:
            answer = http.post("/v1/download/initiate", json=body, headers=headers)
        except httpx.TransportError:
            return False
        if answer.status_code in {429, 503}:
            posted.slowest_refusal = max(posted.slowest_refusal, time.monotonic() - started)
            return False
        if answer.status_code == 202:
            posted.job_ids.add(answer.json()["jobId"])
        else:
            posted.never_to_be_seen = answer.text
        return True


def _requests(jobs: int, users: int, rng: random.Random) -> Iterator[Posted]:
    ids = [sample.file_id for sample in FILES]
    for number in range(jobs):
        yield Posted(
            key=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            user=f"user-{number % users}",
            file_ids=tuple(rng.sample(ids, rng.randint(2, 4))),
        )
