"""Longhaul's API as Python calls."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from .connection import Connection, json_body
from .errors import JobUnsuccessful, TransferFailed
from .job import Job
from .timing import Clock
from .transfer import OnProgress, Transfer
from .watch import Transport, Watch

DEFAULT_URL = "http://127.0.0.1:8080"
#: The most entries that the API puts on one page.
PAGE = 100


class Longhaul:
    """A client of one API, safe to keep for the life of a program; close it or use ``with``.

    Every call raises ``ApiProblem`` when the API refuses and ``Unreachable`` when it does not
    answer; what may pass soon (429, 502, 503, 504, a lost connection) is tried again first.
    ``timeout``: seconds without a byte that a call may take.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        user: str | None = None,
        timeout: float = 10.0,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """``token``: a bearer token (JWT); ``user``: the name where the API knows no tokens."""
        self._connection = Connection(
            url, token=token, user=user, timeout=timeout, clock=clock, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._connection.close()

    def start(
        self,
        file_ids: Sequence[int],
        *,
        priority: Literal["low", "normal", "high"] | None = None,
        on_missing: Literal["fail", "skip"] | None = None,
        file_name: str | None = None,
        callback_url: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Ask for the files in one archive.

        Without an ``idempotency_key`` one is made, so that a lost answer never makes two jobs.
        """
        body = {
            "file_ids": list(file_ids),
            "priority": priority,
            "onMissing": on_missing,
            "fileName": file_name,
            "callbackUrl": callback_url,
            "metadata": metadata,
        }
        response = self._connection.call(
            "POST",
            "/v1/download/initiate",
            json={member: value for member, value in body.items() if value is not None},
            headers={"Idempotency-Key": idempotency_key or str(uuid.uuid4())},
        )
        return Job.from_json(response.json())

    def status(self, job_id: str) -> Job:
        """The job as it is now, also when it is cancelled or expired."""
        return self._job("GET", f"/v1/download/status/{job_id}")

    def watch(
        self,
        job_id: str,
        *,
        since: int = 0,
        transports: Sequence[Transport] = tuple(Transport),
        patience: float = 120.0,
    ) -> Watch:
        """Every newer snapshot of the job until it is finished: iterate over the answer.

        ``since``: the last version that is known already; ``patience``: seconds without any answer
        until ``Unreachable``.
        """
        return Watch(
            self._connection, job_id, since=since, transports=transports, patience=patience
        )

    def wait(self, job_id: str) -> Job:
        """The completed job, once it is; ``JobUnsuccessful`` when it ends otherwise."""
        for job in self.watch(job_id):
            if job.finished:
                return completed(job)
        raise AssertionError("a watch ends with a finished job")

    def cancel(self, job_id: str) -> None:
        """Cancel the job; no error when it is cancelled already."""
        self._connection.call("DELETE", f"/v1/download/{job_id}")

    def retry(self, job_id: str) -> Job:
        """Run a failed job again."""
        return self._job("POST", f"/v1/download/{job_id}/retry")

    def jobs(self, *, status: str | None = None, most: int = 100) -> Iterator[Job]:
        """The caller's jobs, newest first, ``most`` of them, read page by page."""
        for body in self._pages("/v1/download/jobs", "jobs", most, status=status):
            yield Job.from_json(body)

    def stats(self) -> dict[str, Any]:
        """The queue's figures as the API gives them."""
        return json_body(self._connection.call("GET", "/v1/download/queue/stats"))

    def dead_letters(self, *, most: int = 100) -> Iterator[dict[str, Any]]:
        """Jobs whose last attempt failed, for operators."""
        return self._pages("/v1/admin/dead-letters", "deadLetters", most)

    def download(self, job: Job, target: Path, on_progress: OnProgress = lambda *_: None) -> None:
        """Fetch the archive of a completed job into ``target`` and verify it.

        Goes on where an earlier call was interrupted. ``JobUnsuccessful`` when there is no archive;
        ``TransferFailed`` when the line stays down; ``ChecksumMismatch`` when the bytes are wrong.
        """
        completed(job)
        if job.file_size is None:
            raise TransferFailed(f"the API does not say how large the archive of {job.job_id} is")
        Transfer(
            connection=self._connection,
            job=job,
            size=job.file_size,
            target=target,
            on_progress=on_progress,
        ).run()

    def _job(self, method: str, path: str) -> Job:
        return Job.from_json(json_body(self._connection.call(method, path)))

    def _pages(
        self, path: str, member: str, most: int, **filters: str | None
    ) -> Iterator[dict[str, Any]]:
        params: dict[str, str | int] = {name: value for name, value in filters.items() if value}
        left = most
        while left > 0:
            page = json_body(
                self._connection.call("GET", path, params={**params, "limit": min(left, PAGE)})
            )
            items = page.get(member, [])[:left]
            yield from items
            left -= len(items)
            if not items or not page.get("nextCursor"):
                return
            params["cursor"] = page["nextCursor"]


def completed(job: Job) -> Job:
    """The same job; ``JobUnsuccessful`` unless it is completed."""
    if job.status != "completed":
        raise JobUnsuccessful(job)
    return job
