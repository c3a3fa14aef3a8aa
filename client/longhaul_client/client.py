"""Longhaul's API as Python methods."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self
from urllib.parse import quote

import httpx

from .connection import Connection, json_body
from .errors import ApiProblem, JobUnsuccessful, TransferFailed
from .job import Job
from .timing import Clock
from .transfer import ArchiveTransfer, OnProgress
from .watch import Watch, WatchTransport

DEFAULT_URL = "http://127.0.0.1:8080"
#: Maximum number of entries on a page of the API.
PAGE_SIZE = 100


class Longhaul:
    """A client for one API. Keep it as long as you need it, then close it, or use ``with``.

    Every method raises ``ApiProblem`` when the API rejects the request and ``Unreachable`` when it
    does not respond. Temporary errors (429, 502, 503, 504, a lost connection) are retried first.
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
        """Create a client. Raise ``InvalidSetting`` if it cannot work with these settings.

        ``token`` is a bearer token (JWT). ``user`` is the user name for an API without
        authentication. ``timeout`` limits the seconds that pass without receiving a byte.
        """
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
        file_ids: Sequence[int] = (),
        *,
        files: Sequence[tuple[int, str | None]] | None = None,
        manifest: bool | None = None,
        priority: Literal["low", "normal", "high"] | None = None,
        on_missing: Literal["fail", "skip"] | None = None,
        file_name: str | None = None,
        callback_url: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        expires_in: int | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Start a job that packs the files into one archive.

        Specify ``files`` instead of ``file_ids`` for an archive with folders: pairs of a file's ID
        and its path in the archive. A path that ends in ``/`` is a folder in which the file keeps
        its own name; without one, the file is at the top. With ``manifest``, the archive contains
        a list of its files with their checksums.
        The archive is deleted ``expires_in`` seconds after the job is completed.

        Without an ``idempotency_key`` a random one is sent, so that a retry after a lost response
        does not create a second job.
        """
        body = {
            "file_ids": list(file_ids) if file_ids or files is None else None,
            "files": None if files is None else [_requested(*file) for file in files],
            "manifest": manifest,
            "priority": priority,
            "onMissing": on_missing,
            "fileName": file_name,
            "callbackUrl": callback_url,
            "metadata": metadata,
            "expiresIn": expires_in,
        }
        response = self._connection.call(
            "POST",
            "/v1/download/initiate",
            json={member: value for member, value in body.items() if value is not None},
            headers={"Idempotency-Key": idempotency_key or str(uuid.uuid4())},
        )
        return Job.from_json(json_body(response))

    def status(self, job_id: str) -> Job:
        """Return the job, even if it is cancelled or expired."""
        return self._job("GET", f"/v1/download/status/{quote(job_id, safe='')}")

    def watch(
        self,
        job_id: str,
        *,
        since: int = 0,
        transports: Sequence[WatchTransport] = tuple(WatchTransport),
        timeout: float = 120.0,
    ) -> Watch:
        """Return an iterable of the job's snapshots that ends with the finished job.

        ``since`` is the last version you have seen. ``timeout`` is the number of seconds without a
        response after which ``Unreachable`` is raised.
        """
        return Watch(self._connection, job_id, since=since, transports=transports, timeout=timeout)

    def wait(self, job_id: str) -> Job:
        """Wait until the job is completed and return it. Raise ``JobUnsuccessful`` otherwise."""
        for job in self.watch(job_id):
            if job.finished:
                return completed(job)
        raise AssertionError("a watch ends with a finished job")

    def cancel(self, job_id: str) -> None:
        """Cancel the job. Do nothing if it is already cancelled."""
        self._connection.call("DELETE", f"/v1/download/{quote(job_id, safe='')}")

    def retry(self, job_id: str) -> Job:
        """Run a failed job again, or a completed job whose archive lacks files."""
        return self._run_again(job_id, f"/v1/download/{quote(job_id, safe='')}/retry")

    def files(self, job_id: str) -> Iterator[dict[str, Any]]:
        """Yield the files of a job with their state, in the order of the request."""
        path = f"/v1/download/status/{quote(job_id, safe='')}/files"
        return self._pages(path, "files", sys.maxsize)

    def create_link(
        self,
        job_id: str,
        *,
        expires_in: int | None = None,
        max_uses: int | None = None,
        ip: str | None = None,
        file_name: str | None = None,
    ) -> dict[str, Any]:
        """Create a link to the archive of a completed job, which works without a token.

        It ends after ``expires_in`` seconds or with the archive, and after ``max_uses`` downloads.
        ``ip`` is the address or network that may use it. The response is the only one with ``url``.
        """
        limits = {
            "expiresIn": expires_in,
            "maxUses": max_uses,
            "ip": ip,
            "fileName": file_name,
        }
        body = {name: value for name, value in limits.items() if value is not None}
        # Not repeated: each request creates a link.
        return json_body(self._connection.once("POST", _links(job_id), json=body))

    def links(self, job_id: str) -> list[dict[str, Any]]:
        """Return the links of a job with the number of their uses."""
        links: list[dict[str, Any]] = json_body(self._connection.call("GET", _links(job_id)))[
            "links"
        ]
        return links

    def revoke_link(self, job_id: str, link_id: str) -> None:
        """Revoke a link. Do nothing if it is already revoked."""
        self._connection.call("DELETE", f"{_links(job_id)}/{quote(link_id, safe='')}")

    def webhook_secret(self) -> dict[str, Any]:
        """Return the secret that your webhooks are signed with, as ``secret``."""
        return json_body(self._connection.call("GET", "/v1/webhooks/secret"))

    def rotate_webhook_secret(self, *, overlap: int | None = None) -> dict[str, Any]:
        """Replace the secret and return the new one.

        The earlier one remains valid for ``overlap`` seconds, by default one day. With 0, it ends
        immediately.
        """
        body = {} if overlap is None else {"overlap": overlap}
        # Not repeated: each request creates a secret.
        return json_body(self._connection.once("POST", "/v1/webhooks/secret/rotate", json=body))

    def deliveries(self, job_id: str) -> list[dict[str, Any]]:
        """Return the webhooks of a job with all attempts to deliver them."""
        path = f"/v1/download/{quote(job_id, safe='')}/deliveries"
        deliveries: list[dict[str, Any]] = json_body(self._connection.call("GET", path))[
            "deliveries"
        ]
        return deliveries

    def replay_webhook(self, job_id: str, webhook_id: str) -> None:
        """Send one webhook of a job again."""
        job, webhook = quote(job_id, safe=""), quote(webhook_id, safe="")
        path = f"/v1/download/{job}/deliveries/{webhook}/replay"
        self._connection.once("POST", path)

    def replay_webhooks(self, since: datetime, *, state: str | None = None) -> int:
        """Send your webhooks since a time again; return their number.

        ``since`` needs a time zone. ``state``: only webhooks in this state, such as ``failed``.
        """
        if since.tzinfo is None:
            raise ValueError("since needs a time zone")
        replayed, following = 0, since.isoformat()
        while following:
            body = {"since": following, "state": state}
            page = json_body(self._connection.call("POST", "/v1/webhooks/replay", json=body))
            replayed, following = replayed + page["replayed"], page["nextSince"]
        return replayed

    def delete_archive(self, job_id: str) -> None:
        """Delete the archive of a completed job. Do nothing if it is already deleted."""
        self._connection.call("DELETE", f"/v1/download/{quote(job_id, safe='')}/archive")

    def usage(self, *, days: int = 30) -> dict[str, Any]:
        """Return your plan, its limits, and what your jobs did on each of the last days."""
        path = f"/v1/download/usage?days={days}"
        return json_body(self._connection.call("GET", path))

    def jobs(self, *, status: str | None = None, limit: int = 100) -> Iterator[Job]:
        """Yield up to ``limit`` of your jobs, newest first."""
        for body in self._pages("/v1/download/jobs", "jobs", limit, status=status):
            yield Job.from_json(body)

    def stats(self) -> dict[str, Any]:
        """Return the statistics of the queue."""
        return json_body(self._connection.call("GET", "/v1/download/queue/stats"))

    def dead_letters(self, *, limit: int = 100) -> Iterator[dict[str, Any]]:
        """Yield dead letters: failed jobs that could succeed if retried. For operators."""
        return self._pages("/v1/admin/dead-letters", "deadLetters", limit)

    def requeue(self, job_id: str) -> Job:
        """Run a dead letter again. For operators."""
        path = f"/v1/admin/dead-letters/{quote(job_id, safe='')}/requeue"
        return self._run_again(job_id, path)

    def all_jobs(
        self, job_filter: Mapping[str, str] | None = None, *, limit: int = 100
    ) -> Iterator[dict[str, Any]]:
        """Yield up to ``limit`` jobs of all users, newest first. For operators.

        ``job_filter`` has the members ``user``, ``status``, ``errorCode``, ``priority``, ``from``,
        ``to`` (ISO 8601) and ``q``, a job ID or its beginning. None is required.
        """
        return self._pages("/v1/admin/jobs", "jobs", limit, **(job_filter or {}))

    def inspect(self, job_id: str) -> dict[str, Any]:
        """Return everything that is known about a job, with its timeline. For operators."""
        path = f"/v1/admin/jobs/{quote(job_id, safe='')}"
        return json_body(self._connection.call("GET", path))

    def act(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Cancel, retry, requeue or prioritize jobs, or count them. For operators.

        ``request`` has the members ``action``, ``jobIds`` or ``filter``, for `prioritize`
        ``priority``, and ``dryRun`` to count only. A request tries a limited number of jobs:
        ``act_on_all`` tries them all.
        """
        body = {name: value for name, value in request.items() if value is not None}
        return json_body(self._connection.call("POST", "/v1/admin/job-actions", json=body))

    def act_on_all(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Repeat ``act`` until no job remains that it can change. Return the sums."""
        changed = 0
        rejected: list[dict[str, Any]] = []
        untried: Mapping[str, Any] | None = request
        while untried:
            result = self.act(untried)
            changed += result["changed"]
            rejected += result["rejected"]
            untried = _untried(untried, result)
        return {**result, "changed": changed, "rejected": rejected}

    def audit_log(self, *, limit: int = 100) -> Iterator[dict[str, Any]]:
        """Yield what operators did, newest first. For operators."""
        return self._pages("/v1/admin/audit", "entries", limit)

    def pause(self) -> None:
        """Stop starting jobs; running jobs continue. For operators."""
        self._connection.call("POST", "/v1/admin/queue/pause")

    def resume(self) -> None:
        """Start jobs again. For operators."""
        self._connection.call("POST", "/v1/admin/queue/resume")

    def download(
        self,
        job: Job,
        target: Path | BinaryIO,
        on_progress: OnProgress = lambda *_: None,
        *,
        overwrite: bool = True,
    ) -> None:
        """Download the archive of a completed job to ``target`` and verify its checksum.

        Continue where an earlier call for the same file was interrupted. A binary stream gets the
        bytes as they arrive. Raise ``JobUnsuccessful`` if the job has no archive,
        ``TransferFailed`` if the connection keeps failing or ``target`` cannot be written, and
        ``ChecksumMismatch`` if the content is wrong.
        """
        completed(job)
        if job.file_size is None:
            raise TransferFailed(f"the API did not report the size of the archive of {job.job_id}")
        transfer = ArchiveTransfer(
            connection=self._connection, job=job, size=job.file_size, on_progress=on_progress
        )
        if isinstance(target, Path):
            transfer.to_file(target, overwrite=overwrite)
        else:
            transfer.to_stream(target)

    def _job(self, method: str, path: str) -> Job:
        return Job.from_json(json_body(self._connection.call(method, path)))

    def _run_again(self, job_id: str, path: str) -> Job:
        """Restart a job. A rejection is a success if an earlier attempt restarted the job.

        The response to that attempt was lost. Then a job that runs gets 409, and a job that is no
        longer a dead letter 404.
        """
        try:
            return self._job("POST", path)
        except ApiProblem as problem:
            if not problem.after_lost_response or problem.status not in (404, 409):
                raise
            job = self.status(job_id)
            if job.status not in ("queued", "processing", "completed"):
                raise
            return job

    def _pages(
        self, path: str, member: str, limit: int, **filters: str | None
    ) -> Iterator[dict[str, Any]]:
        params: dict[str, str | int] = {name: value for name, value in filters.items() if value}
        remaining = limit
        while remaining > 0:
            page = json_body(
                self._connection.call(
                    "GET", path, params={**params, "limit": min(remaining, PAGE_SIZE)}
                )
            )
            items = page[member][:remaining]
            yield from items
            remaining -= len(items)
            # A page may be empty although others follow.
            if not page.get("nextCursor"):
                return
            params["cursor"] = page["nextCursor"]


def _requested(file_id: int, path: str | None) -> dict[str, Any]:
    return {"file_id": file_id} if path is None else {"file_id": file_id, "path": path}


def _untried(request: Mapping[str, Any], result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the request for the jobs not tried yet, or None if there is nothing left to try."""
    if not result["remaining"]:
        return None
    if not request.get("jobIds"):
        # Jobs that a filter finds and that cannot be changed match again.
        return request if result["changed"] else None
    tried = result["matched"] - result["remaining"]
    return {**request, "jobIds": request["jobIds"][tried:]} if tried else None


def _links(job_id: str) -> str:
    return f"/v1/download/{quote(job_id, safe='')}/links"


def completed(job: Job) -> Job:
    """Return the job, or raise ``JobUnsuccessful`` if it is not completed."""
    if job.status != "completed":
        raise JobUnsuccessful(job)
    return job
