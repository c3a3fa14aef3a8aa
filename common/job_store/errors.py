"""Tells errors of the job store apart: outages, and mistakes in this program.

redis-py has one base class for both. An outage passes, so callers wait and try again; a mistake,
such as a command on a key of another type (WRONGTYPE), comes back until somebody fixes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from redis.exceptions import (
    ClusterDownError,
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

#: Replies of a server that does not accept writes now, or that just stopped being the primary. None
#: of them has executed the command.
NOT_WRITABLE: Final = frozenset({"READONLY", "MASTERDOWN", "NOREPLICAS", "UNBLOCKED"})
#: Other replies that mean that the server, not the command, is the problem.
_SERVER_PROBLEMS: Final = NOT_WRITABLE | {
    *("LOADING", "BUSY", "MISCONF", "OOM", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK"),
    # Missing scripts are loaded, but the server may restart, or another one may become the primary,
    # before the script runs.
    "NOSCRIPT",
}
_OUTAGES: Final = (
    *(ConnectionError, TimeoutError, ReadOnlyError, OutOfMemoryError),
    *(ClusterDownError, TryAgainError),
)
#: What redis-py writes between the command and the server's reply if a pipeline fails.
_IN_PIPELINE: Final = " of pipeline caused error: "


def code_of(error: RedisError) -> str:
    """Return the first word of the server's reply, such as ``READONLY``, or an empty string."""
    code = getattr(error, "status_code", None)
    if isinstance(code, str):
        return code
    # The command comes first, and may contain anything.
    reply = str(error).rpartition(_IN_PIPELINE)[2]
    word = reply.partition(" ")[0]
    return word if word.isupper() else ""


def is_outage(error: RedisError) -> bool:
    """Return whether the store is unavailable, rather than used in a wrong way."""
    if isinstance(error, _OUTAGES):
        return True
    return code_of(error) in _SERVER_PROBLEMS


def describe(error: BaseException) -> str:
    """Return the kind and the message of an error. redis-py's ``repr`` lacks the message."""
    kind = type(error).__name__
    if isinstance(error, ResponseError) and (code := code_of(error)):
        kind = f"{kind} {code}" if code not in str(error) else kind
    return f"{kind}: {error}"


def log_failure(log: Any, event: str, error: RedisError, **fields: object) -> None:
    """Log that a call to the job store failed, and why.

    ``event`` says what did not happen. An outage is a warning; anything else is an error with its
    traceback, because it does not pass by itself.
    """
    if is_outage(error):
        log.warning(event, cause="job store unavailable", error=describe(error), **fields)
    else:
        log.error(
            event,
            cause="job store rejected the command",
            error=describe(error),
            exc_info=error,
            **fields,
        )


@contextmanager
def log_errors(log: Any, event: str) -> Iterator[None]:
    """Log an error that ends the block, and continue after it."""
    try:
        yield
    except RedisError as error:
        log_failure(log, event, error)
    except Exception:
        log.exception(event)


def successes(log: Any, event: str, results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of the partitions that have one, and log the errors of the others.

    ``results``: by partition, of ``Scripts.run_in_partitions``. Raise the error if every partition
    has one.
    """
    failed = {tag: result for tag, result in results.items() if isinstance(result, RedisError)}
    if failed and len(failed) == len(results):
        raise next(iter(failed.values()))
    for tag, error in failed.items():
        log_failure(log, event, error, partition=tag)
    return {tag: result for tag, result in results.items() if tag not in failed}


def raise_outage(results: Iterable[Any]) -> None:
    """Raise the first result that is an outage of the store or of a part of it."""
    for result in results:
        if isinstance(result, RedisError) and is_outage(result):
            raise result
