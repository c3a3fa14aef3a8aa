"""The progress of an attempt and the estimate of its end."""

from __future__ import annotations

from worker.attempt.control import AttemptControl

DEADLINE = 3_600.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_estimate_follows_the_rate_of_the_bytes() -> None:
    clock = Clock()
    control = AttemptControl(deadline=DEADLINE, clock=clock)
    control.expect(files=1, bytes=1_000)
    for clock.now in range(1, 5):
        control.advance(100)
        progress, _ = control.progress()
    assert progress.seconds_remaining is not None
    assert round(progress.seconds_remaining) == 6


def test_an_attempt_that_receives_nothing_has_no_estimate_beyond_its_deadline() -> None:
    clock = Clock()
    control = AttemptControl(deadline=DEADLINE, clock=clock)
    control.expect(files=1, bytes=1_000_000)
    estimates = []
    for clock.now in range(1, 600):
        if clock.now <= 4:
            control.advance(1_000)
        estimates.append(control.progress()[0].seconds_remaining)
    known = [estimate for estimate in estimates if estimate is not None]
    assert known
    assert max(known) <= DEADLINE
    assert estimates[-1] is None
