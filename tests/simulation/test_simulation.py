"""A short simulation, and the proof that it is deterministic and finds mistakes."""

from __future__ import annotations

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.scenario import Event, Scenario, scenario_of
from tests.simulation.shrinking import shrink
from tests.simulation.world import run

#: Seeds of the short run.
SEEDS = range(1, 9)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_invariant_is_violated(seed: int) -> None:
    result = run(scenario_of(seed))
    assert result.violation is None, "\n".join(result.trace.lines()[-100:])
    assert result.lives > 100


def test_a_seed_always_leads_to_the_same_run() -> None:
    scenario = _jobs(20, Event(1.0, "crash", {"worker": 0, "back_after": 1.0}))
    assert run(scenario).trace.lines() == run(scenario).trace.lines()


def _jobs(count: int, *faults: Event, seconds: float = 2.0, **options: bool) -> Scenario:
    """Return a scenario in which a job is created every 0.1 s."""
    jobs = [
        Event(
            number / 10,
            "create",
            {"job": number, "user": f"user{number % 4}", "priority": "normal", "seconds": seconds},
        )
        for number in range(count)
    ]
    events = tuple(sorted([*jobs, *faults], key=lambda event: event.at))
    return Scenario(seed=1, events=events, **options)


#: For each mistake that the product once had, a scenario that leads to its violation.
FINDINGS = {
    "stalls": (
        _jobs(
            10,
            *[Event(at, "stall", {"seconds": 2.6}) for at in (2, 6, 10, 14)],
            seconds=15.0,
        ),
        "no attempt is lost without a cause",
    ),
    "nogroup": (_jobs(5, Event(2.0, "flush")), "no unexpected error"),
    "release": (_jobs(5, mixed_releases=True), "no unexpected error"),
}


@pytest.mark.parametrize("mutation", FINDINGS)
def test_a_mistake_that_is_put_back_is_found(mutation: str) -> None:
    scenario, invariant = FINDINGS[mutation]
    assert run(scenario).violation is None
    with MUTATIONS[mutation]():
        result = run(scenario)
    assert result.violation is not None
    assert result.violation.invariant == invariant


def test_a_failing_scenario_shrinks_to_the_events_that_matter() -> None:
    flush = Event(2.0, "flush")
    scenario = _jobs(20, flush)
    with MUTATIONS["nogroup"]():
        small, result = shrink(scenario, run(scenario), seconds=30)
    assert small.events == (flush,)
    assert result.violation is not None
    assert any("VIOLATION" in line for line in result.trace.lines())
