"""What operators do to jobs: one at a time or many, with a preview, and each action is logged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.exceptions import RedisError

from api.admin.job_explorer import Candidates
from common.errors import LonghaulError
from common.job_store.audit_log import AuditEntry
from common.job_store.errors import log_failure
from common.job_store.jobs import OPERATOR
from common.jobs.model import Priority
from common.jobs.transitions import JobState, sources_of

if TYPE_CHECKING:
    from api.admin.job_explorer import JobExplorer
    from common.job_store.audit_log import AuditLog
    from common.job_store.dead_letters import DeadLetters
    from common.job_store.jobs import JobStore
    from common.jobs.filters import JobFilter
    from common.jobs.model import Job

#: Jobs that one request changes at most, and the seconds after which it changes no more.
MAX_BATCH: Final = 500
MAX_SECONDS: Final = 0.8

log = structlog.get_logger(__name__)


class Action(StrEnum):
    """What an operator can do to jobs."""

    CANCEL = "cancel"
    RETRY = "retry"
    REQUEUE = "requeue"
    PRIORITIZE = "prioritize"


#: The states in which an action may change a job.
STATES: Final[Mapping[Action, frozenset[JobState]]] = {
    Action.CANCEL: sources_of(JobState.CANCELLED),
    Action.RETRY: frozenset({JobState.FAILED}),
    #: As RETRY, but only dead letters.
    Action.REQUEUE: frozenset({JobState.FAILED}),
    Action.PRIORITIZE: frozenset({JobState.QUEUED}),
}


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Who sends a request."""

    #: The subject of their token; empty if they used ADMIN_TOKEN.
    subject: str
    request_id: str


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Why a job was not changed."""

    job_id: str
    code: str
    message: str


@dataclass(kw_only=True)
class Outcome:
    """What an action changed."""

    matched: int
    #: More jobs match than were counted.
    more: bool
    changed: list[str] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)

    @property
    def remaining(self) -> int:
        """The number of jobs that were counted and not tried yet."""
        return self.matched - len(self.changed) - len(self.rejected)


class OperatorActions:
    """Runs and logs actions. Raises ``RedisError`` when the job store is unavailable."""

    def __init__(
        self,
        explorer: JobExplorer,
        jobs: JobStore,
        dead_letters: DeadLetters,
        audit_log: AuditLog,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._explorer = explorer
        self._jobs = jobs
        self._dead_letters = dead_letters
        self._audit_log = audit_log
        self._clock = clock

    def allowed(self, job: Job) -> list[Action]:
        """Return the actions that can change a job of the job store now.

        For a single job, REQUEUE is another name of RETRY, so it is left out.
        """
        allowed: list[Action] = [
            action
            for action, states in STATES.items()
            if job.status in states and action is not Action.REQUEUE
        ]
        if job.status is JobState.COMPLETED and job.artifact and job.artifact.missing_files:
            allowed.append(Action.RETRY)
        return allowed

    def candidates(
        self, action: Action, chosen: JobFilter | Sequence[str], priority: Priority | None
    ) -> Candidates:
        """Return the jobs that an action could change, of those chosen by filter or by ID."""
        if isinstance(chosen, Sequence):
            # Named jobs are tried in any state, so that those that cannot be changed are reported.
            return Candidates(job_ids=list(dict.fromkeys(chosen)), more=False)
        if priority is not None:
            chosen = _without(chosen, priority)
        found = self._explorer.candidates(chosen, STATES[action])
        if action is not Action.REQUEUE:
            return found
        dead = self._dead_letters.filter_ids(found.job_ids)
        job_ids = [job_id for job_id in found.job_ids if job_id in dead]
        return Candidates(job_ids=job_ids, more=found.more)

    def run(
        self,
        action: Action,
        chosen: JobFilter | Sequence[str],
        *,
        operator: Operator,
        priority: Priority | None,
    ) -> Outcome:
        """Change a batch of the chosen jobs, and log that. Repeat it while some remain.

        At least one job is tried. The jobs of ``chosen`` are tried in their order.
        """
        candidates = self.candidates(action, chosen, priority)
        outcome = Outcome(matched=len(candidates.job_ids), more=candidates.more)
        change = self._change(action, priority)
        end = self._clock() + MAX_SECONDS
        try:
            for job_id in candidates.job_ids[:MAX_BATCH]:
                try:
                    change(job_id)
                except LonghaulError as error:
                    outcome.rejected.append(
                        Rejection(job_id=job_id, code=error.code, message=error.message)
                    )
                else:
                    outcome.changed.append(job_id)
                if self._clock() > end:
                    break
        finally:
            parameters = _parameters(chosen, priority)
            self.record(
                action,
                operator,
                matched=outcome.matched,
                changed=len(outcome.changed),
                job_ids=outcome.changed,
                parameters=parameters,
            )
        return outcome

    def record(
        self,
        action: str,
        operator: Operator,
        *,
        matched: int = 0,
        changed: int = 0,
        job_ids: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """Log an action that was done, also in the log of this process."""
        entry = AuditEntry(
            action=action,
            subject=operator.subject,
            matched=matched,
            changed=changed,
            job_ids=job_ids,
            parameters=parameters or {},
            request_id=operator.request_id,
        )
        log.info(
            "operator action",
            action=action,
            subject=operator.subject or "ADMIN_TOKEN",
            matched=matched,
            changed=changed,
            parameters=entry.parameters,
        )
        try:
            self._audit_log.record(entry)
        except RedisError as error:
            # The action is done. The line above is what is left of its record.
            log_failure(log, "operator action not added to the audit log", error, action=action)

    def _change(self, action: Action, priority: Priority | None) -> Callable[[str], Job]:
        if action is Action.PRIORITIZE:
            if priority is None:
                raise ValueError("prioritize requires a priority")
            target = priority
            return lambda job_id: self._jobs.set_priority(job_id, target)
        changes: dict[Action, Callable[[str], Job]] = {
            Action.CANCEL: lambda job_id: self._jobs.cancel(job_id, by=OPERATOR),
            Action.RETRY: lambda job_id: self._jobs.restart(job_id, by=OPERATOR, limited=False),
            Action.REQUEUE: self._dead_letters.requeue,
        }
        return changes[action]


def _parameters(chosen: JobFilter | Sequence[str], priority: Priority | None) -> Mapping[str, Any]:
    parameters: dict[str, Any] = {} if priority is None else {"priority": priority.value}
    if isinstance(chosen, Sequence):
        return parameters
    conditions = {name: value for name, value in asdict(chosen).items() if value}
    for name in conditions.keys() & {"statuses", "priorities"}:
        conditions[name] = sorted(conditions[name])
    return {**parameters, "filter": conditions}


def _without(job_filter: JobFilter, priority: Priority) -> JobFilter:
    """Leave out jobs of this priority: jobs that were moved to it would match again and again."""
    wanted = frozenset(Priority) if job_filter.priorities is None else job_filter.priorities
    return replace(job_filter, priorities=wanted - {priority})
