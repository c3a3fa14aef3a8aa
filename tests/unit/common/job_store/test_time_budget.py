"""A request's waits for the job store are limited in total."""

from __future__ import annotations

import contextvars
import time

from common.job_store import time_budget


def test_all_waits_of_a_request_share_its_budget() -> None:
    time_budget.begin(0.05)
    with time_budget.waiting(1.0) as first:
        time.sleep(0.03)
    with time_budget.waiting(1.0) as second:
        time.sleep(0.03)
    with time_budget.waiting(1.0) as third:
        pass
    assert first == 0.05
    assert second is not None
    assert second <= 0.02
    # Not zero, which would mean "do not wait" to a socket.
    assert third == 0.01


def test_a_shorter_timeout_stays_as_it_is() -> None:
    time_budget.begin(5.0)
    with time_budget.waiting(0.5) as seconds:
        assert seconds == 0.5
    with time_budget.waiting(None) as seconds:
        assert seconds is not None
        assert seconds <= 5.0


def test_what_a_request_started_is_not_limited_after_its_end() -> None:
    budget = time_budget.begin(0.01)
    inherited = contextvars.copy_context()
    budget.spend(1.0)
    budget.end()

    def wait() -> float | None:
        with time_budget.waiting(3.0) as seconds:
            return seconds

    assert inherited.run(wait) == 3.0
