"""Finds a small scenario that still violates the same invariant, by leaving out events."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.simulation.scenario import Scenario, ScenarioEvent
from tests.simulation.world import RunResult, run


def shrink(scenario: Scenario, result: RunResult, *, seconds: float) -> tuple[Scenario, RunResult]:
    """Leave out events, in ever smaller groups, for at most ``seconds`` (Zeller's ddmin)."""
    assert result.violation is not None
    invariant = result.violation.invariant
    deadline = time.perf_counter() + seconds
    smallest, smallest_result = scenario, result

    def still_fails(events: Sequence[ScenarioEvent]) -> bool:
        nonlocal smallest, smallest_result
        candidate = replace(scenario, events=tuple(events))
        outcome = run(candidate)
        if outcome.violation is None or outcome.violation.invariant != invariant:
            return False
        smallest, smallest_result = candidate, outcome
        return True

    _minimize(list(scenario.events), still_fails, lambda: time.perf_counter() > deadline)
    return smallest, smallest_result


def _minimize(
    events: list[ScenarioEvent],
    still_fails: Callable[[list[ScenarioEvent]], bool],
    is_late: Callable[[], bool],
) -> None:
    groups = 2
    while len(events) >= 2 and not is_late():
        size = max(1, len(events) // groups)
        for start in range(0, len(events), size):
            rest = events[:start] + events[start + size :]
            if is_late():
                return
            if still_fails(rest):
                events, groups = rest, max(2, groups - 1)
                break
        else:
            if size == 1:
                return
            groups *= 2
