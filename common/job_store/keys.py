"""Every key and channel of the job store.

The keyspace is cut into 16 partitions. A job's partition is the second hex digit of its id, and an
id is made so that it falls into the partition of the job's user. Hence all keys of a job *and* of
its user carry one hash tag (``{p07}``), lie in one slot of a cluster, and one script changes all of
them or none.

The patterns below are the single definition: the Lua scripts get a function for each of them.
"""

from __future__ import annotations

import secrets
import zlib
from typing import Final

PARTITIONS: Final = 16

#: ``{tag}`` is the partition's hash tag, braces included; ``{id}`` a job's id.
PATTERNS: Final = {
    # The job's flat fields, see common/jobs/model.py. Kept job_ttl after the job is finished.
    "status": "job:status:{tag}:{id}",
    # What was asked for, as JSON; never changes.
    "spec": "job:spec:{tag}:{id}",
    # Hash: file id -> its report as JSON.
    "files": "job:files:{tag}:{id}",
    # List: one JSON object per ended attempt.
    "attempts": "job:attempts:{tag}:{id}",
    # List: what of its archive is in the storage already, see worker/archive/composing/upload_log.py.
    "upload_log": "job:parts:{tag}:{id}",
    # Channel: a snapshot for each version.
    "events": "job:events:{tag}:{id}",
    # Sorted sets of job ids, scored in milliseconds of the server's clock:
    "waiting": "jobs:waiting:{tag}:{priority}",  # queued; since when
    "retries": "jobs:retries:{tag}",  # queued, but not before this time
    "leases": "jobs:leases:{tag}",  # processing; until when the worker is believed
    "expiring": "jobs:expiring:{tag}",  # completed; until when the archive exists
    "dead_letters": "jobs:dead:{tag}",  # dead letters; since when
    "failures": "jobs:failures:{tag}",  # the newest that failed; when
    "wake_ups_sent": "jobs:hinted:{tag}:{priority}",  # queued, its wake-up message is out; since when
    # Hash: priority -> when the newest hint that was read from the queue had been sent, milliseconds.
    "reached": "jobs:reached:{tag}",
    # Exists while no job of the partition may be begun.
    "paused": "jobs:paused:{tag}",
    # Hash: state -> how many jobs ended in it.
    "totals": "jobs:totals:{tag}",
    # List of the newest durations of completed jobs, milliseconds.
    "durations": "jobs:durations:{tag}",
    # Sorted set of the job ids that have such a list; since when.
    "upload_logs": "jobs:unfinished:{tag}",
    # Stream of all changes of state.
    "state_log": "jobs:journal:{tag}",
    # Sorted set of the user's jobs that are remembered, by creation.
    "user_jobs": "user:jobs:{tag}:{user}",
    # Hash of the user's unfinished jobs: digest of the request -> id. A restarted job stands under
    # its own id, where the same request has made another since.
    "user_active": "user:active:{tag}:{user}",
    # How many jobs the user asked for in a minute; kept for two.
    "user_rate": "user:rate:{tag}:{user}:{minute}",
    # List of the user's jobs that wait in a priority; only the first one's hint is out.
    "user_queue": "user:line:{tag}:{user}:{priority}",
    # The answer to an Idempotency-Key: "<digest of the request> <job id>".
    "idempotency": "user:idempotency:{tag}:{user}:{key}",
    # Webhooks: a hash for each terminal state of a job, the list of its attempts as JSON, and the
    # sorted set of a job's versions that have one.
    "delivery": "webhook:delivery:{tag}:{id}:{version}",
    "delivery_log": "webhook:log:{tag}:{id}:{version}",
    "deliveries": "webhook:of:{tag}:{id}",
    # Sorted set of "<job id>:<version>": when to deliver next, milliseconds.
    "webhooks_due": "webhooks:due:{tag}",
}

#: Outside of the partitions: the names of workers, and what each says of itself, in one slot.
WORKERS: Final = "workers"
#: What the object storage can do, as JSON, as the worker that started last found it.
STORAGE: Final = "storage:capabilities"
#: Hash: how many archives and bytes by how they came to be.
ARCHIVE_TOTALS: Final = "archive:totals"


def breaker(name: str) -> str:
    """Return the prefix of the keys of a service's circuit breaker; all lie in one slot."""
    return f"breaker:{{{name}}}"


def worker(name: str) -> str:
    return f"worker:{{{WORKERS}}}:{name}"


def new_job_id(user: str) -> str:
    """A random UUID (version 4, 118 random bits) that falls into the user's partition."""
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
    """Of a key that begins with a job's or a partition's own name, not a user's."""
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


def building(plan_id: str) -> str:
    """Who composes this archive at the moment; outside of the partitions, for all users."""
    return f"archive:building:{plan_id}"


def events(job_id: str) -> str:
    return _of_job("events", job_id)


def deliveries(job_id: str) -> str:
    return _of_job("deliveries", job_id)


def delivery(job_id: str, version: int) -> str:
    return PATTERNS["delivery"].format(tag=tag_of_job(job_id), id=job_id, version=version)


def delivery_log(job_id: str, version: int) -> str:
    return PATTERNS["delivery_log"].format(tag=tag_of_job(job_id), id=job_id, version=version)


def user_jobs(user: str) -> str:
    return PATTERNS["user_jobs"].format(tag=tag_of_user(user), user=user)


def user_rate(user: str, minute: int) -> str:
    return PATTERNS["user_rate"].format(tag=tag_of_user(user), user=user, minute=minute)


def user_active(user: str) -> str:
    return PATTERNS["user_active"].format(tag=tag_of_user(user), user=user)


def of_partition(name: str, tag: str, priority: str = "") -> str:
    """A key of a whole partition, such as ``waiting`` or ``state_log``."""
    return PATTERNS[name].format(tag=tag, priority=priority)


def _of_job(name: str, job_id: str) -> str:
    return PATTERNS[name].format(tag=tag_of_job(job_id), id=job_id)
