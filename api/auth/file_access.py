"""Checks whether callers may have the files of a request or of a job; see docs/authorization.md."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from api.errors import FilesForbidden
from common.authorization.base import NO_CLAIMS
from common.errors import BackendUnavailable, JobNotFound
from common.jobs.model import NO_GRANT, FileGrant, Job, JobSpec, OnMissing

if TYPE_CHECKING:
    from api.auth.callers import Caller
    from common.authorization import FileAuthorizer
    from common.job_store.queries import JobQueries

#: Pairs of a job and a token's claims that are known to be allowed.
MAX_CACHED: Final = 4_096
#: Seconds after which no more decisions are awaited for a list of jobs.
MAX_LIST_SECONDS: Final = 1.0


class FileAccess:
    """Applies the authorizer to requests and jobs.

    Every method raises ``BackendUnavailable`` if the authorizer does not decide.
    """

    def __init__(
        self,
        authorizer: FileAuthorizer,
        queries: JobQueries,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authorizer = authorizer
        self._queries = queries
        self._clock = clock
        self._allowed: set[tuple[str, str]] = set()

    def grant(self, caller: Caller, spec: JobSpec) -> FileGrant:
        """Return why the caller may have the files of a new job.

        Raise ``FilesForbidden`` if they may not have one of them, or, if the job skips missing
        files, none of them.
        """
        if self._authorizer.allows_everything:
            return NO_GRANT
        forbidden = self.forbidden(caller, spec.file_ids)
        if forbidden and not (spec.on_missing is OnMissing.SKIP and set(spec.file_ids) - forbidden):
            raise FilesForbidden(forbidden)
        return FileGrant(claims=caller.claims or NO_CLAIMS, forbidden=tuple(sorted(forbidden)))

    def require(self, caller: Caller, file_ids: Sequence[int]) -> None:
        """Raise ``FilesForbidden`` if the caller may not have all of the files."""
        if forbidden := self.forbidden(caller, file_ids):
            raise FilesForbidden(forbidden)

    def forbidden(self, caller: Caller, file_ids: Sequence[int]) -> frozenset[int]:
        """Return those of the files that the caller may not have."""
        return self._authorizer.denied(caller.user, caller.claims or NO_CLAIMS, file_ids)

    def require_by_token(self, caller: Caller, job_id: str) -> None:
        """Raise ``FilesForbidden`` if the caller's token does not allow all files of their job.

        A user may have tokens that allow different files.
        """
        forbidden = self._forbidden_by_token(caller, job_id)
        if forbidden:
            raise FilesForbidden(forbidden)

    def redact(self, caller: Caller, jobs: Iterable[Job]) -> list[Job]:
        """Return the caller's jobs, without the archives whose files their token does not allow.

        An archive about which there is no decision within some seconds is left out, too.
        """
        deadline = self._clock() + MAX_LIST_SECONDS
        return [
            job
            if job.artifact is None or self._may_see(caller, job, deadline)
            else _without_archive(job)
            for job in jobs
        ]

    def require_download(self, caller: Caller, job: Job) -> None:
        """Raise ``FilesForbidden`` if the job's user may not have all files in its archive now.

        Only for authorizers whose decisions may change: they decide again at every download.
        """
        if self._authorizer.is_revocable:
            spec, grant = self._queries.request(job.id)
            file_ids = self._archived(job.id, spec, _granted(spec, grant))
            if forbidden := self._forbidden_of_job(caller, job.user, grant, file_ids):
                raise FilesForbidden(forbidden)

    def hidden(self, caller: Caller, job_id: str, file_ids: Sequence[int]) -> frozenset[int]:
        """Return those of a job's files whose name and size must not be shown any more."""
        if not self._authorizer.is_revocable:
            return frozenset()
        _, grant = self._queries.request(job_id)
        owner = self._queries.owner(job_id)
        return self._forbidden_of_job(caller, owner, grant, file_ids)

    def _forbidden_of_job(
        self, caller: Caller, owner: str, grant: FileGrant, file_ids: Sequence[int]
    ) -> frozenset[int]:
        """Decide about the job's user, by the claims that they have now if this is their token."""
        own = caller.user == owner and caller.claims is not None
        claims = caller.claims if own and caller.claims else grant.claims
        return self._authorizer.denied(owner, claims, file_ids)

    def _may_see(self, caller: Caller, job: Job, deadline: float) -> bool:
        try:
            return self._clock() < deadline and not self._forbidden_by_token(caller, job.id)
        except (BackendUnavailable, JobNotFound):
            # Of a job that is only in the history, the files are unknown.
            return False

    def _forbidden_by_token(self, caller: Caller, job_id: str) -> frozenset[int]:
        authorizer, claims = self._authorizer, caller.claims
        if authorizer.allows_everything or claims is None or (job_id, claims) in self._allowed:
            return frozenset()
        spec, grant = self._queries.request(job_id)
        granted = _granted(spec, grant)
        archived = self._archived(job_id, spec, granted) if authorizer.is_revocable else granted
        forbidden = authorizer.denied(caller.user, claims, archived)
        # What the job requests and is granted never changes. That a permission is revoked later
        # is noticed by ``require_download``.
        if not forbidden and archived == granted:
            if len(self._allowed) >= MAX_CACHED:
                self._allowed.clear()
            self._allowed.add((job_id, claims))
        return forbidden

    def _archived(self, job_id: str, spec: JobSpec, file_ids: list[int]) -> list[int]:
        """Return the files without those that the worker found missing or forbidden."""
        if spec.on_missing is not OnMissing.SKIP:
            return file_ids
        reports = self._queries.files(job_id, file_ids)
        return [report.file_id for report in reports if report.state != "missing"]


def _granted(spec: JobSpec, grant: FileGrant) -> list[int]:
    forbidden = frozenset(grant.forbidden)
    return [file_id for file_id in spec.file_ids if file_id not in forbidden]


def _without_archive(job: Job) -> Job:
    return replace(job, artifact=None, total_bytes=None, processed_bytes=None)
