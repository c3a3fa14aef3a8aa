"""The limit for concurrent transfers, on simulated storages."""

from __future__ import annotations

from collections.abc import Callable

from worker.archive.composing.adaptive_limit import ROUNDS_TO_RETRY, AdaptiveLimit

SIZE = 1_000_000


class Simulation:
    """Transfers that run in rounds: all that may run at once start and end together."""

    def __init__(self, seconds: Callable[[int], float], *, start: int = 8) -> None:
        """``seconds`` returns how long transfers take, given how many run at once."""
        self._seconds = seconds
        self._now = 0.0
        self.limit = AdaptiveLimit(start=start, maximum=48, clock=lambda: self._now)

    def round(self, available: int = 1000) -> int:
        """Run one round with at most ``available`` transfers; return how many ran at once."""
        count = 0
        while count < available and self.limit.acquire():
            count += 1
        self._now += self._seconds(count)
        for _ in range(count):
            self.limit.release(SIZE)
        return count

    def rounds(self, number: int) -> list[int]:
        return [self.round() for _ in range(number)]


def test_the_limit_doubles_up_to_its_maximum_while_transfers_do_not_slow_down() -> None:
    assert Simulation(lambda _: 0.1).rounds(5) == [8, 16, 32, 48, 48]


def test_the_limit_is_set_back_if_more_transfers_carry_no_more_bytes() -> None:
    saturated = Simulation(lambda count: 0.1 * max(count, 16) / 16)
    assert saturated.rounds(5) == [8, 16, 32, 16, 16]


def test_a_limit_that_was_set_back_is_tried_again_later() -> None:
    seconds = {"per 8": 0.1}
    simulation = Simulation(lambda count: seconds["per 8"] * count / 8)
    assert simulation.rounds(3) == [8, 16, 8]
    assert set(simulation.rounds(ROUNDS_TO_RETRY)) == {8}
    assert simulation.rounds(2) == [16, 8]


def test_the_limit_stays_if_there_is_not_enough_to_transfer() -> None:
    simulation = Simulation(lambda _: 0.1)
    for _ in range(20):
        simulation.round(available=6)
    assert simulation.limit.value == 8


def test_transfers_without_bytes_say_nothing_about_the_throughput() -> None:
    simulation = Simulation(lambda _: 0.1)
    for _ in range(20):
        assert simulation.limit.acquire()
        simulation.limit.release(0)
    assert simulation.limit.value == 8
