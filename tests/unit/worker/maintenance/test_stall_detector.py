"""When an expired lease proves that a worker is lost."""

from __future__ import annotations

from worker.maintenance.stall_detector import StallDetector


class Clocks:
    """A monotonic clock, and the store's clock beside it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.difference = 1_000_000.0

    def detector(self) -> StallDetector:
        return StallDetector(max_gap=2.0, grace=10.0, clock=lambda: self.now)

    def respond(self, detector: StallDetector, after: float) -> bool:
        self.now += after
        detector.record_response(self.now + self.difference)
        return detector.leases_are_reliable

    def trusted(self) -> StallDetector:
        detector = self.detector()
        for _ in range(11):
            self.respond(detector, 1.0)
        assert detector.leases_are_reliable
        return detector


def test_a_new_sweeper_waits_for_one_lease() -> None:
    clocks = Clocks()
    detector = clocks.detector()
    assert not detector.leases_are_reliable
    assert [clocks.respond(detector, 1.0) for _ in range(11)] == [False] * 9 + [True] * 2


def test_a_slow_response_starts_the_grace_again() -> None:
    clocks = Clocks()
    detector = clocks.trusted()
    assert not clocks.respond(detector, 2.5)
    assert [clocks.respond(detector, 1.0) for _ in range(10)] == [False] * 9 + [True]


def test_a_failure_starts_the_grace_again() -> None:
    clocks = Clocks()
    detector = clocks.trusted()
    detector.record_failure()
    assert not clocks.respond(detector, 1.0)


def test_a_jump_of_the_clock_of_the_store_starts_the_grace_again() -> None:
    for jump in (86_400.0, -86_400.0):
        clocks = Clocks()
        detector = clocks.trusted()
        clocks.difference += jump
        assert not clocks.respond(detector, 1.0)
        assert [clocks.respond(detector, 1.0) for _ in range(10)] == [False] * 9 + [True]


def test_clocks_that_drift_slowly_change_nothing() -> None:
    clocks = Clocks()
    detector = clocks.trusted()
    for _ in range(100):
        clocks.difference += 0.1
        assert clocks.respond(detector, 1.0)
