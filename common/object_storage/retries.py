"""Retries requests after errors that may not occur again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from common.errors import DownloadError, NetworkError
from common.object_storage.cancellation import Cancellation
from common.object_storage.errors import StorageBusy
from common.object_storage.retry_budget import RetryBudget

#: Attempts in a row without progress.
MAX_ATTEMPTS = 5
#: Seconds. The delay after failure n is at most BASE_DELAY * 2**n, and never more than MAX_DELAY.
BASE_DELAY = 0.1
MAX_DELAY = 2.0
#: A server that asks for a longer delay than this many seconds makes the attempt fail.
MAX_REQUESTED_DELAY = 10.0

RETRYABLE_ERRORS: tuple[type[DownloadError], ...] = (StorageBusy, NetworkError)

T = TypeVar("T")


def retry(
    attempt: Callable[[], T],
    cancellation: Cancellation,
    *,
    budget: RetryBudget | None = None,
    progress: Callable[[], int] = lambda: 0,
    on: tuple[type[DownloadError], ...] = RETRYABLE_ERRORS,
) -> T:
    """Call ``attempt`` until it succeeds or fails five times in a row without progress.

    Only errors of the types in ``on`` are retried. The upper limit of a delay grows from 0.2 s to
    2 s, with full jitter; it follows the delay that a server asks for, and ``cancellation`` ends
    both. A requested delay of more than 10 s is left to the job's next attempt, which does not
    occupy a worker until then. All calls with the same ``budget``, by default that of the storage,
    share their retries.
    """
    budget = budget or cancellation.storage_retries
    failures, last_progress = 0, progress()
    cancellation.wait(budget.remaining_pause())
    request, succeeded = budget.begin(), False
    try:
        while True:
            try:
                result = attempt()
            except on as error:
                if progress() > last_progress:
                    failures, last_progress = 0, progress()
                    budget.add_progress(request)
                failures += 1
                if isinstance(error, StorageBusy) and error.slow_down:
                    budget.slow_down()
                requested_delay = error.retry_after or 0.0
                is_last = failures >= MAX_ATTEMPTS or requested_delay > MAX_REQUESTED_DELAY
                if is_last or not budget.take_retry(request):
                    error.all_requests_failed = budget.all_fail
                    raise
                delay = random.uniform(0, min(MAX_DELAY, BASE_DELAY * 2**failures))  # noqa: S311
                cancellation.wait(budget.shorten(requested_delay + delay))
                cancellation.wait(budget.remaining_pause())
            else:
                succeeded = True
                return result
    finally:
        budget.end(request, succeeded=succeeded)
