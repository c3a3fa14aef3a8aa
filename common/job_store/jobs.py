"""The life cycle of a job: each method runs one atomic script in one round trip."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final, Protocol

import orjson
import structlog

from common.errors import RunsAlone
from common.job_store import keys
from common.job_store.cluster import server_of
from common.job_store.records import (
    decode_grant,
    decode_spec,
    decode_wake_ups,
    encode_request,
    failure_fields,
    milliseconds,
    optional_fields,
    progress_fields,
    reports_json,
    required_fields,
    terms_fields,
)
from common.job_store.scripts import ScriptRunner, Scripts, raise_for_code
from common.jobs import events
from common.jobs.model import (
    NO_GRANT,
    Artifact,
    Failure,
    FileGrant,
    FileReport,
    Job,
    JobSpec,
    Lease,
    Priority,
    Progress,
    QueuePlace,
    WakeUp,
    WakeUpTemplate,
)
from common.jobs.transitions import RESTARTABLE, JobState, sources_of

if TYPE_CHECKING:
    from redis import Redis

UNLIMITED: Final = 2**31
IDEMPOTENCY_TTL: Final = 86_400.0
#: Seconds until a worker claims a job again whose request it did not understand.
UNKNOWN_REQUEST_DELAY: Final = 5.0
UNKNOWN_REQUEST: Final = "The worker's release does not understand the request."
#: Seconds for which a job that runs alone is reserved for a worker, unless it renews that.
RESERVATION: Final = 30.0


log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits per user and job, and lifetimes in seconds."""

    max_active: int = 5
    max_attempts: int = 4
    lease: float = 10.0
    job_ttl: float = 86_400.0
    archive_ttl: float = 86_400.0

    def lifetimes(self) -> dict[str, object]:
        """Return the arguments of every script that ends jobs, in milliseconds."""
        return {
            "job_ttl": milliseconds(self.job_ttl),
            "archive_ttl": milliseconds(self.archive_ttl),
            "idempotency_ttl": milliseconds(IDEMPOTENCY_TTL),
        }


class WakeUpSender(Protocol):
    """Sends wake-ups to the workers, as ``common.wake_ups.Dispatcher`` does."""

    @property
    def template(self) -> WakeUpTemplate | None:
        """What a script needs to push wake-ups itself; None if it cannot."""

    def send(self, wake_ups: Iterable[WakeUp]) -> None:
        """Send the wake-ups that a script could not push."""


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """An accepted request to create a job."""

    #: ``created``, ``replayed`` (by its Idempotency-Key) or ``deduplicated``.
    outcome: str
    job: Job


@dataclass(kw_only=True)
class CreationRate:
    """How many jobs a user may request in a minute, and how many were requested."""

    #: Minutes since 1970.
    minute: int
    limit: int
    #: Set by ``JobStore.create``.
    requests: int = 0


@dataclass(frozen=True, kw_only=True)
class CreationTerms:
    """What the user's plan sets for a new job, or for one that runs again."""

    plan: str
    max_active: int
    #: Bytes of archives per day, checked when a job starts; None: unlimited.
    max_bytes: int | None = None
    #: Seconds after its completion until the archive is deleted; None: ARCHIVE_TTL.
    expires_in: int | None = None
    #: How many of the user's jobs may be next at the same time.
    weight: int = 1


@dataclass(frozen=True, kw_only=True)
class Requester:
    """Who asks for a change. The job records only whether that is its owner or an operator."""

    #: None: an operator who does not act as a user, or unknown.
    user: str | None = None
    is_operator: bool = False

    def arguments(self) -> dict[str, object]:
        """Return the arguments for ``requested_by`` in the scripts."""
        return {"requester": self.user, "is_operator": self.is_operator or None}


OPERATOR: Final = Requester(is_operator=True)
UNKNOWN_REQUESTER: Final = Requester()


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to run one attempt at a job."""

    lease: Lease
    job: Job
    spec: JobSpec
    grant: FileGrant = field(default_factory=FileGrant)


class JobStore:
    """Creates and changes jobs.

    Every method raises ``RedisError`` when the store is unavailable, and one of ``common.errors``
    when it rejects the change.
    """

    def __init__(
        self,
        client: Redis,
        wake_ups: WakeUpSender,
        limits: Limits | None = None,
        *,
        run_script: ScriptRunner | None = None,
    ) -> None:
        self._client = client
        self._scripts = Scripts(client, run_script, template=wake_ups.template)
        self._wake_ups = wake_ups
        self.limits = limits or Limits()

    def with_script_runner(self, run_script: ScriptRunner) -> JobStore:
        """Return the same store with a faster way to run scripts."""
        return JobStore(self._client, self._wake_ups, self.limits, run_script=run_script)

    def create(
        self,
        user: str,
        spec: JobSpec,
        *,
        grant: FileGrant = NO_GRANT,
        idempotency_key: str | None = None,
        traceparent: str | None = None,
        email: str | None = None,
        rate: CreationRate | None = None,
        place: QueuePlace | None = None,
        terms: CreationTerms | None = None,
    ) -> Accepted:
        """Create a job for ``user``, or find the one that the same request created before.

        ``grant``: why the user may have the files; see ``common.authorization``.
        ``traceparent`` is the request's, so that the worker can continue the trace. ``email``: the
        address of the user, who gets an email when a long job ends. ``rate`` counts this request,
        even if it is rejected. ``place``: where it enters the queue, if known.
        ``terms``: those of the user's plan, if there are plans.

        Raises ``RateLimited``, ``IdempotencyKeyReused``, ``TooManyActiveJobs`` and
        ``QuotaExceeded``.
        """
        job_id = keys.new_job_id(user)
        stored_request, digest = encode_request(spec, grant)
        required = required_fields(
            job_id, user, spec, digest=digest, max_attempts=self.limits.max_attempts
        )
        optional = optional_fields(
            spec, traceparent=traceparent, email=email, idempotent=idempotency_key is not None
        )
        if terms:
            optional |= terms_fields(plan=terms.plan, expires_in=terms.expires_in)
        arguments: tuple[object, ...] = (
            *required.values(),
            stored_request,
            orjson.dumps(required | optional).decode(),
            terms.max_active if terms else self.limits.max_active,
            terms and terms.max_bytes,
            terms and terms.weight,
            idempotency_key,
            idempotency_key and milliseconds(IDEMPOTENCY_TTL),
            rate and rate.minute,
            rate and rate.limit,
            place and place.turn,
            place and place.round,
            *chain.from_iterable(optional.items()),
        )
        result = self._scripts.run_positional("create", keys.status(job_id), arguments)
        if rate:
            rate.requests = int(result[1])
        code, _, snapshot, *wake_ups = raise_for_code(result)
        self._send(wake_ups)
        return Accepted(outcome=code.lower(), job=events.decode(snapshot))

    def claim(
        self,
        job_id: str,
        worker: str,
        wake_up: WakeUp | None = None,
        *,
        alone: bool = False,
        token: str | None = None,
    ) -> Claim | None:
        """Start an attempt at a job, or return None when the job does not wait to be run.

        ``wake_up``: the message that led here. It shows the sweeper how far its queue is read.
        ``alone``: the worker runs no other job, and starts none. ``token``: unique to this claim. A
        caller that got no response repeats the call with it, and gets the same claim.

        A job that a newer release accepted, with a request that this one does not understand, is
        returned to the queue for a newer worker.

        Raises ``RunsAlone`` if the job requires ``alone``: for ``RESERVATION`` seconds, it then
        waits for this worker to call again, without ``wake_up``, and after that for any worker.
        """
        args = {
            "id": job_id,
            "worker": worker,
            "claim": token or secrets.token_hex(8),
            "lease": milliseconds(self.limits.lease),
            "allowed": _sources(JobState.PROCESSING),
            "priority": wake_up and wake_up.priority,
            "sent": wake_up and wake_up.sent,
            "alone": alone or None,
            "reservation": milliseconds(RESERVATION),
        }
        code, *values = self._scripts.call("claim", keys.status(job_id), args)
        if code == "ALONE":
            reservations, *wake_ups = values
            self._send(wake_ups)
            raise RunsAlone(int(reservations))
        if code != "CLAIMED":
            return None
        snapshot, spec, *wake_ups = values
        self._send(wake_ups)
        job = events.decode(snapshot)
        lease = Lease(job_id=job_id, fencing_token=job.fencing_token)
        try:
            return Claim(lease=lease, job=job, spec=decode_spec(spec), grant=decode_grant(spec))
        except (KeyError, TypeError, ValueError):
            log.exception("job returned to queue: this release does not understand its request")
            self.return_to_queue(lease, UNKNOWN_REQUEST_DELAY, reason=UNKNOWN_REQUEST)
            return None

    def heartbeat(
        self, lease: Lease, progress: Mapping[str, object], files: Iterable[FileReport] = ()
    ) -> str:
        """Store progress and extend the lease; return ``CONTINUE``, ``CANCEL`` or ``LOST``."""
        args = {
            "id": lease.job_id,
            "fencing_token": lease.fencing_token,
            "lease": milliseconds(self.limits.lease),
            "files": reports_json(files),
        }
        # Not ``call``, which raises ``LeaseLost``: a lost lease is a result like the others here.
        code, *_ = self._scripts.run("heartbeat", keys.status(lease.job_id), args, progress)
        return str(code)

    def server_of(self, job_id: str) -> str:
        """Return the name of the server that holds the job, which is empty without a cluster."""
        return server_of(self._client, keys.status(job_id))

    def complete(
        self, lease: Lease, artifact: Artifact, progress: Progress, files: Iterable[FileReport] = ()
    ) -> Job:
        """processing → completed. Raises ``LeaseLost`` when another worker has the job."""
        fields = {
            "status": JobState.COMPLETED,
            "artifact": orjson.dumps(artifact).decode(),
            **progress_fields(progress, percent=100),
        }
        return self._finish(lease, fields, files)

    def fail(self, lease: Lease, failure: Failure, files: Iterable[FileReport] = ()) -> Job:
        """processing → failed; a retryable failure becomes a dead letter. Raises ``LeaseLost``."""
        return self._finish(lease, {"status": JobState.FAILED, **failure_fields(failure)}, files)

    def retry_later(self, lease: Lease, failure: Failure, delay: float) -> Job:
        """processing → queued, to run again after ``delay`` seconds. Raises ``LeaseLost``."""
        return self._release(lease, failure_fields(failure), delay=delay, counts=True)

    def return_to_queue(
        self, lease: Lease, delay: float = 0.0, *, reason: str = "", postponed: bool = False
    ) -> Job:
        """processing → queued without costing an attempt, to run again after ``delay`` seconds.

        ``reason``: why, for operators. ``postponed``: because a dependency is unavailable. Raises
        ``LeaseLost``.
        """
        fields = {"reason": reason}
        return self._release(lease, fields, delay=delay, counts=False, postponed=postponed)

    def cancel(self, job_id: str, *, by: Requester = UNKNOWN_REQUESTER) -> Job:
        """Cancel a job. Idempotent. Raises ``JobNotFound`` and ``JobConflict``."""
        args = {
            "id": job_id,
            "allowed": _sources(JobState.CANCELLED),
            **by.arguments(),
            **self.limits.lifetimes(),
        }
        _, snapshot, *wake_ups = self._scripts.call("cancel", keys.status(job_id), args)
        self._send(wake_ups)
        return events.decode(snapshot)

    def restart(
        self,
        job_id: str,
        *,
        by: Requester = UNKNOWN_REQUESTER,
        terms: CreationTerms | None = None,
        limited: bool = True,
    ) -> Job:
        """Run a failed job, or one whose archive lacks files, again with all its attempts.

        ``terms``: those of the user's plan, if there are plans. ``limited=False``: even if the user
        has the maximum number of active jobs.

        Raises ``JobNotFound``, ``JobConflict``, ``TooManyActiveJobs`` and ``QuotaExceeded``.
        """
        max_active = terms.max_active if terms else self.limits.max_active
        args = {
            "id": job_id,
            "allowed": ",".join(RESTARTABLE),
            "max_active": max_active if limited else UNLIMITED,
            "max_bytes": terms and terms.max_bytes,
            **by.arguments(),
        }
        _, snapshot, *wake_ups = self._scripts.call("restart", keys.status(job_id), args)
        self._send(wake_ups)
        return events.decode(snapshot)

    def set_priority(self, job_id: str, priority: Priority) -> Job:
        """Move a queued job to the end of another priority queue. Idempotent.

        Raises ``JobNotFound``, and ``JobConflict`` if the job is not queued.
        """
        args = {"id": job_id, "allowed": JobState.QUEUED, "priority": priority}
        _, snapshot, *wake_ups = self._scripts.call("set_priority", keys.status(job_id), args)
        self._send(wake_ups)
        return events.decode(snapshot)

    def delete_archive(self, job_id: str, *, by: Requester = UNKNOWN_REQUESTER) -> Job:
        """Delete the archive of a completed job, which expires. Idempotent.

        The archive is gone for the job immediately. The object itself is deleted by a worker, as
        soon as no other job needs it; see ``archive_references``.

        Raises ``JobNotFound``, and ``JobConflict`` if the job has not been completed.
        """
        args = {"id": job_id, "allowed": _sources(JobState.EXPIRED), **by.arguments()}
        _, snapshot = self._scripts.call("archive_delete", keys.status(job_id), args)
        return events.decode(snapshot)

    def _finish(
        self, lease: Lease, fields: Mapping[str, object], files: Iterable[FileReport]
    ) -> Job:
        args = {
            "id": lease.job_id,
            "fencing_token": lease.fencing_token,
            "allowed": _sources(JobState(str(fields["status"]))),
            "files": reports_json(files),
            **self.limits.lifetimes(),
        }
        _, snapshot = self._scripts.call("finish", keys.status(lease.job_id), args, fields)
        return events.decode(snapshot)

    def _release(
        self,
        lease: Lease,
        fields: Mapping[str, object],
        *,
        delay: float,
        counts: bool,
        postponed: bool = False,
    ) -> Job:
        args = {
            "id": lease.job_id,
            "fencing_token": lease.fencing_token,
            "allowed": _sources(JobState.QUEUED),
            "delay": milliseconds(delay),
            "counts": int(counts),
            "postponed": postponed or None,
        }
        _, snapshot, *wake_ups = self._scripts.call(
            "release", keys.status(lease.job_id), args, fields
        )
        self._send(wake_ups)
        return events.decode(snapshot)

    def _send(self, wake_ups: Sequence[str]) -> None:
        if wake_ups:
            self._wake_ups.send(decode_wake_ups(wake_ups))


def _sources(target: JobState) -> str:
    return ",".join(sorted(sources_of(target)))
