"""Plans: what a user may do, by a claim of the token; see docs/plans.md.

Without PLANS, there is one set of limits for everybody, and none of this runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import structlog

from api.errors import DailyQuotaExceeded, PriorityNotAllowed, ValidationFailed
from common.job_store.jobs import CreationTerms
from common.jobs.model import PRIORITIES, JobSpec, Priority

#: The plan of every user whose token names no other.
DEFAULT: Final = "default"
#: Queues of one user and priority. More would let one user take every turn.
MAX_WEIGHT: Final = 16
#: Bytes of a file with plans.
MAX_SIZE: Final = 1_048_576

_DAY: Final = 86_400

log = structlog.get_logger(__name__)


class InvalidPlans(ValueError):
    """PLANS cannot be used. The message names the plan and the member."""


@dataclass(frozen=True, kw_only=True)
class UserPlan:
    """What the users of a plan may do."""

    name: str
    priorities: tuple[Priority, ...]
    #: Unfinished jobs.
    active_jobs: int
    creates_per_minute: int
    #: Bytes of completed archives; None: unlimited.
    bytes_per_day: int | None
    #: How many of a user's jobs per priority may be next at the same time.
    weight: int
    #: Seconds for which archives are kept at most; None: ARCHIVE_TTL.
    retention: int | None

    @property
    def default_priority(self) -> Priority:
        """The priority of a request that has none."""
        return Priority.NORMAL if Priority.NORMAL in self.priorities else self.priorities[0]

    def terms(self, spec: JobSpec) -> CreationTerms:
        """Return what the plan sets for a request.

        Raise ``PriorityNotAllowed``, or ``ValidationFailed`` if the archive would be kept longer
        than the plan allows.
        """
        if spec.priority not in self.priorities:
            allowed = " or ".join(self.priorities)
            raise PriorityNotAllowed(
                f"Your plan does not allow the priority {spec.priority}. Use {allowed}."
            )
        if spec.expires_in and self.retention and spec.expires_in > self.retention:
            message = f"Your plan keeps archives for at most {self.retention} seconds."
            raise ValidationFailed({"expiresIn": [message]})
        return replace(self.restart_terms(), expires_in=spec.expires_in or self.retention)

    def restart_terms(self) -> CreationTerms:
        """Return what the plan sets for a job that runs again."""
        return CreationTerms(
            plan=self.name,
            max_active=self.active_jobs,
            max_bytes=self.bytes_per_day,
            weight=self.weight,
        )


class Plans:
    """The plans of the service, by name."""

    def __init__(self, plans: Mapping[str, UserPlan]) -> None:
        """``plans`` contains the plan ``default``."""
        self._plans = plans

    def named(self, name: str | None) -> UserPlan:
        """Return the plan that a token names; the default one if there is none."""
        if name is None:
            return self._plans[DEFAULT]
        plan = self._plans.get(name)
        if plan is None:
            _warn_of_unknown(name[:100])
            return self._plans[DEFAULT]
        return plan


@lru_cache(maxsize=64)
def _warn_of_unknown(name: str) -> None:
    """Log each unknown plan once: it is a mistake of the token's issuer, or of PLANS."""
    log.warning("a token names an unknown plan, the default one is used", plan=name)


def quota_exceeded(clock: Callable[[], float] = time.time) -> DailyQuotaExceeded:
    """Return the error for a user who has used the bytes of today."""
    now = clock()
    resets_at = day_end(now)
    return DailyQuotaExceeded(resets_at=resets_at * 1000, retry_after=resets_at - now)


def day_end(now: float) -> int:
    """Return when the day ends, UTC; seconds since 1970."""
    return (int(now // _DAY) + 1) * _DAY


def load_plans(text: str, defaults: UserPlan, *, archive_ttl: int) -> Plans:
    """Return the plans in JSON, or in the file that ``text`` names. Raise ``InvalidPlans``.

    ``defaults``: the values of members that a plan does not have. ``archive_ttl``: seconds for
    which the service keeps archives.
    """
    document = _parse(text if text.lstrip().startswith("{") else _read(text))
    if DEFAULT not in document:
        raise InvalidPlans(f"PLANS has no plan {DEFAULT!r}")
    return Plans(
        {name: _plan(name, members, defaults, archive_ttl) for name, members in document.items()}
    )


def _read(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        raise InvalidPlans(f"PLANS is neither a JSON object nor a readable file: {error}") from None
    if len(text) > MAX_SIZE:
        raise InvalidPlans(f"PLANS: the file is larger than {MAX_SIZE} bytes")
    return text


def _parse(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise InvalidPlans(f"PLANS is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidPlans("PLANS must be a JSON object of plans by name")
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise InvalidPlans(f"PLANS has {repeated!r} twice in the same object")
    return members


def _plan(name: str, members: Any, defaults: UserPlan, archive_ttl: int) -> UserPlan:
    if not name or len(name) > 100:
        raise InvalidPlans("PLANS: the name of a plan must have 1 to 100 characters")
    if not isinstance(members, dict):
        raise InvalidPlans(f"PLANS: plan {name!r} must be a JSON object")
    values: dict[str, Any] = {}
    for member, value in members.items():
        if member not in _MEMBERS:
            known = ", ".join(_MEMBERS)
            raise InvalidPlans(
                f"PLANS: plan {name!r} has an unknown member {member!r}; use {known}"
            )
        field, check = _MEMBERS[member]
        try:
            values[field] = check(value, archive_ttl)
        except ValueError as error:
            raise InvalidPlans(f"PLANS: plan {name!r}: {member} {error}") from None
    return replace(defaults, name=name, **values)


def _priorities(value: Any, _: int) -> tuple[Priority, ...]:
    if not isinstance(value, list) or not value or any(each not in PRIORITIES for each in value):
        raise ValueError(f"must be a list of at least one of {', '.join(PRIORITIES)}")
    return tuple(priority for priority in Priority if priority.value in value)


def _whole_number(
    low: int, high: Callable[[int], int | None] = lambda _: None, *, null: bool = False
) -> Callable[[Any, int], int | None]:
    """Return a check for a whole number of at least ``low``; ``high`` returns the highest."""

    def check(value: Any, archive_ttl: int) -> int | None:
        if value is None and null:
            return None
        highest = high(archive_ttl)
        limits = f"at least {low}" if highest is None else f"{low} to {highest}"
        # True is an int for Python, and equal to 1.
        if type(value) is not int or value < low or (highest is not None and value > highest):
            raise ValueError(f"must be a whole number of {limits}" + (", or null" if null else ""))
        return value

    return check


#: Member of the JSON object -> field of ``UserPlan``, and what checks a value.
_MEMBERS: Final[Mapping[str, tuple[str, Callable[[Any, int], Any]]]] = {
    "priorities": ("priorities", _priorities),
    "activeJobs": ("active_jobs", _whole_number(1)),
    "createsPerMinute": ("creates_per_minute", _whole_number(1)),
    "bytesPerDay": ("bytes_per_day", _whole_number(1, null=True)),
    "weight": ("weight", _whole_number(1, lambda _: MAX_WEIGHT)),
    "retention": ("retention", _whole_number(1, lambda archive_ttl: archive_ttl)),
}
