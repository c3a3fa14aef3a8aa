"""Every key and channel of the job store.

The keys of jobs and users are divided into 16 partitions. A job's partition is the second hex digit
of its id, and a new id is chosen so that the job falls into the partition of its user. So all keys
of a job *and* of its user carry the same hash tag (``{p07}``) and lie in one slot of a cluster, and
one script changes all of them or none. Workers, locks, circuit breakers, statistics, shared
archives and the requests of IP addresses are not partitioned.

The patterns below are the only definition: Lua scripts use them as ``key.name(value, …)``.

Keys and hash fields at rest keep their names when the code's words change, because a rename would
lose jobs that are stored during an upgrade. So some of them use other words than the code:
``lane`` (the priority that a job is queued with), ``fence`` (fencing token), ``jobs:hinted``
(wake-ups sent), ``jobs:reached`` (up to when they were read), ``jobs:journal`` (state log),
``job:parts`` (upload log), ``jobs:unfinished`` (jobs that have one), ``jobs:dead`` (dead letters),
``user:line`` (a user's queue).
"""

from __future__ import annotations

import secrets
import zlib
from typing import Final

PARTITIONS: Final = 16

#: ``{tag}`` is the partition's hash tag, braces included; ``{id}`` a job's id.
PATTERNS: Final = {
    # Hash: the job's fields, see common/jobs/model.py. Kept job_ttl after the job is finished.
    "status": "job:status:{tag}:{id}",
    # The request, as JSON; never changes.
    "spec": "job:spec:{tag}:{id}",
    # Hash: file id -> its report as JSON.
    "files": "job:files:{tag}:{id}",
    # List: one JSON object per ended attempt.
    "attempts": "job:attempts:{tag}:{id}",
    # List: which parts of the archive's upload exist, see worker/archive/composing/upload_log.py.
    "upload_log": "job:parts:{tag}:{id}",
    # Channel: a snapshot for each version.
    "events": "job:events:{tag}:{id}",
    # Sorted sets of job ids, scored in milliseconds of the server's clock:
    "waiting": "jobs:waiting:{tag}:{priority}",  # queued; since when
    "retries": "jobs:retries:{tag}",  # queued, but not before this time
    "leases": "jobs:leases:{tag}",  # processing; when the lease expires
    "expiring": "jobs:expiring:{tag}",  # completed; when the archive expires
    "dead_letters": "jobs:dead:{tag}",  # since when
    "failures": "jobs:failures:{tag}",  # the newest failed jobs; when they failed
    "wake_ups_sent": "jobs:hinted:{tag}:{priority}",  # queued, with a wake-up; when it was sent
    "upload_logs": "jobs:unfinished:{tag}",  # jobs that have an upload log; since when
    # Hash: priority -> when the newest wake-up that was read from the queue had been sent, ms;
    # ``noted`` -> the server's time as it was noted last (clock.lua), ms.
    "read_up_to": "jobs:reached:{tag}",
    # Exists while no job of the partition may start.
    "paused": "jobs:paused:{tag}",
    # List of the newest completed jobs: "<number of files> <milliseconds from start to end>".
    "runs": "jobs:runs:{tag}",
    # Hash: state -> number of jobs that ended in it; started_<priority> -> number of attempts that
    # were started from that priority's queue.
    "totals": "jobs:totals:{tag}",
    # List of the newest durations of completed jobs, milliseconds.
    "durations": "jobs:durations:{tag}",
    # Stream of all state changes.
    "state_log": "jobs:journal:{tag}",
    # Sorted set of "<bucket>/<key>": archives that a job released; when to check them, ms.
    "removals": "archives:removals:{tag}",
    # Sorted set of the user's jobs, by creation.
    "user_jobs": "user:jobs:{tag}:{user}",
    # Hash of the user's unfinished jobs: digest of the request -> job id. A restarted job is stored
    # under its own id if the same request has created another one since.
    "user_active": "user:active:{tag}:{user}",
    # Number of jobs that the user requested in a minute; kept for two minutes.
    "user_rate": "user:rate:{tag}:{user}:{minute}",
    # Bytes of the user's archives that were completed on a day, in days since 1970, UTC. Counted
    # for jobs that were created with a plan; kept for two days.
    "user_bytes": "user:bytes:{tag}:{user}:{day}",
    # List of the user's queued jobs of one priority; only the first one has a wake-up. A plan may
    # give its users several: of ``user`` and of ``user#2`` etc.
    "user_queue": "user:line:{tag}:{user}:{priority}",
    # The result of an Idempotency-Key: "<digest of the request> <job id>".
    "idempotency": "user:idempotency:{tag}:{user}:{key}",
    # Webhooks and emails, which `kind` tells apart: a hash for each terminal state of a job, the
    # list of its attempts as JSON, the list of what was sent and received in the latest ones, and
    # the sorted set of a job's versions that have a delivery.
    "delivery": "{kind}:delivery:{tag}:{id}:{version}",
    "delivery_log": "{kind}:log:{tag}:{id}:{version}",
    "delivery_exchanges": "{kind}:exchanges:{tag}:{id}:{version}",
    "deliveries": "{kind}:of:{tag}:{id}",
    # Sorted set of "<job id>:<version>": when to deliver next, milliseconds.
    "deliveries_due": "{kind}s:due:{tag}",
    # Sorted set of "<job id>:<version>" of one user: when the state was entered, milliseconds.
    "user_deliveries": "{kind}:user:{tag}:{user}",
    # Hash: the generation of the user's webhook secret, and until when earlier ones sign, too.
    "webhook_secret": "webhook:secret:{tag}:{user}",
    # Links: a hash for each, by the digest of its token, and the set of a job's digests.
    "link": "link:{tag}:{digest}",
    "links": "links:of:{tag}:{id}",
    # Stream of counted downloads that the history has not recorded yet.
    "downloads": "downloads:{tag}",
}

#: Set of worker names. Not partitioned; the workers' own keys lie in the same slot.
WORKERS: Final = "workers"
#: What the object storage supports, as JSON, as found by the worker that started last.
STORAGE_CAPABILITIES: Final = "storage:capabilities"
#: Hash: counters of archives and bytes by how they were made.
ARCHIVE_TOTALS: Final = "archive:totals"
#: Stream: the newest actions of operators.
AUDIT_LOG: Final = "operators:audit"
#: List: the queue's statistics once per minute, newest last, and the lock of the minute's writer.
STATISTICS_LOG: Final = "{statistics}:minutes"
STATISTICS_LOCK: Final = "{statistics}:lock"
#: The lock of the periodic cleanup, and a key that exists while the last run is recent enough.
CLEANUP_LOCK: Final = "cleanup:lock"
CLEANUP_DONE: Final = "cleanup:done"
#: What is in the archive bucket, as JSON, as some worker measured it last; and the same two keys.
BUCKET_SIZE: Final = "storage:bucket_size"
BUCKET_SIZE_LOCK: Final = "storage:bucket_size:lock"
BUCKET_SIZE_DONE: Final = "storage:bucket_size:done"


def breaker_failures(service: str) -> str:
    """Return the key of the jobs that failed because of a service; not partitioned."""
    return f"breaker:{service}:failures"


def breaker_wait(service: str) -> str:
    """Return the key that says how long an open circuit breaker stays open; not partitioned."""
    return f"breaker:{service}:wait"


def worker(name: str) -> str:
    return f"worker:{{{WORKERS}}}:{name}"


def address_rate(kind: str, address: str, minute: int) -> str:
    """Return the key of the number of an address's requests in a minute; not partitioned."""
    return f"limit:{kind}:{address}:{minute}"


def build_lock(plan_id: str) -> str:
    """Return the key of the lock for building an archive; not partitioned, as users share it."""
    return f"archive:building:{plan_id}"


def archive_references(object_key: str) -> str:
    """Return the key of the jobs that need an archive; not partitioned, as users share it."""
    return f"archive:references:{object_key}"


def write_check(process: str) -> str:
    """Return the key that a process writes to check whether the job store takes writes."""
    return f"health:{process}"


def new_job_id(user: str) -> str:
    """Return a random UUID (version 4, 118 random bits) that lies in the user's partition."""
    digits = secrets.token_hex(16)
    variant = "89ab"[int(digits[16], 16) & 3]
    return (
        f"{digits[0]}{partition_of_user(user):x}{digits[2:8]}-{digits[8:12]}-4{digits[13:16]}"
        f"-{variant}{digits[17:20]}-{digits[20:]}"
    )


def partition_of_user(user: str) -> int:
    return zlib.crc32(user.encode()) % PARTITIONS


def tag_of_partition(number: int) -> str:
    return f"{{p{number:02d}}}"


def tag_of_user(user: str) -> str:
    return _TAGS[partition_of_user(user)]


def partition_of_job(job_id: str) -> int:
    return int(job_id[1], 16)


def partition_of_key(key: str) -> int:
    """Return the partition of a key of a job or a partition, but not of a user."""
    start = key.index("{p") + 2
    return int(key[start : start + 2])


def tag_of_job(job_id: str) -> str:
    return _TAGS[partition_of_job(job_id)]


def all_tags() -> list[str]:
    return list(_TAGS)


_TAGS: Final = tuple(tag_of_partition(number) for number in range(PARTITIONS))


def status(job_id: str) -> str:
    return _of_job("status", job_id)


def spec(job_id: str) -> str:
    return _of_job("spec", job_id)


def files(job_id: str) -> str:
    return _of_job("files", job_id)


def attempts(job_id: str) -> str:
    return _of_job("attempts", job_id)


def upload_log(job_id: str) -> str:
    return _of_job("upload_log", job_id)


def events(job_id: str) -> str:
    return _of_job("events", job_id)


def deliveries(job_id: str, kind: str = "webhook") -> str:
    return PATTERNS["deliveries"].format(kind=kind, tag=tag_of_job(job_id), id=job_id)


def delivery(job_id: str, version: int, *, name: str = "delivery", kind: str = "webhook") -> str:
    """Return the key of a delivery, or of what belongs to it: ``delivery_log`` and so on."""
    return PATTERNS[name].format(kind=kind, tag=tag_of_job(job_id), id=job_id, version=version)


def user_deliveries(user: str, kind: str = "webhook") -> str:
    return PATTERNS["user_deliveries"].format(kind=kind, tag=tag_of_user(user), user=user)


def webhook_secret(user: str) -> str:
    return PATTERNS["webhook_secret"].format(tag=tag_of_user(user), user=user)


def links(job_id: str) -> str:
    return _of_job("links", job_id)


def link(partition: int, digest: str) -> str:
    return PATTERNS["link"].format(tag=_TAGS[partition], digest=digest)


def user_jobs(user: str) -> str:
    return PATTERNS["user_jobs"].format(tag=tag_of_user(user), user=user)


def user_rate(user: str, minute: int) -> str:
    return PATTERNS["user_rate"].format(tag=tag_of_user(user), user=user, minute=minute)


def user_bytes(user: str, day: int) -> str:
    return PATTERNS["user_bytes"].format(tag=tag_of_user(user), user=user, day=day)


def user_active(user: str) -> str:
    return PATTERNS["user_active"].format(tag=tag_of_user(user), user=user)


def of_partition(name: str, tag: str, priority: str = "", *, kind: str = "webhook") -> str:
    """Return a key of a whole partition, such as ``waiting`` or ``state_log``."""
    return PATTERNS[name].format(tag=tag, priority=priority, kind=kind)


def _of_job(name: str, job_id: str) -> str:
    return PATTERNS[name].format(tag=tag_of_job(job_id), id=job_id)
