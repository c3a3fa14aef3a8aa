"""A short simulation, and the proof that it is deterministic and finds mistakes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.scenario import Scenario, ScenarioEvent, scenario_of
from tests.simulation.shrinking import shrink
from tests.simulation.world import GROWTH_CHECK_EVERY, run

# A run takes seconds of CPU time, and more on a machine that is busy with other tests.
pytestmark = pytest.mark.timeout(600)

#: Seeds of the short run, each with the check that everything expires.
SEEDS = range(GROWTH_CHECK_EVERY, 6 * GROWTH_CHECK_EVERY, GROWTH_CHECK_EVERY)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_invariant_is_violated(seed: int) -> None:
    result = run(scenario_of(seed))
    assert result.violation is None, "\n".join([str(result.violation), *result.trace.lines()[-60:]])
    assert result.lives > 100


def test_a_seed_always_leads_to_the_same_run() -> None:
    scenario = _jobs(20, ScenarioEvent(1.0, "crash", {"worker": 0, "back_after": 1.0}))
    assert run(scenario).trace.lines() == run(scenario).trace.lines()


def _job(number: int, at: float, **plan: Any) -> ScenarioEvent:
    values = {"job": number, "user": f"user{number % 4}", "priority": "normal", "seconds": 2.0}
    return ScenarioEvent(at, "create", {**values, **plan})


def _jobs(count: int, *events: ScenarioEvent, seconds: float = 2.0, **options: bool) -> Scenario:
    """Return a scenario in which a job is created every 0.1 s."""
    jobs = [_job(number, number / 10, seconds=seconds) for number in range(count)]
    in_order = sorted([*jobs, *events], key=lambda event: event.at)
    return Scenario(seed=1, events=tuple(in_order), **options)


def _stopped_worker(at: float, **plan: Any) -> Scenario:
    """Return a scenario in which attempts end after they have lost their leases to others."""
    jobs = [_job(number, number / 50, seconds=2.5, **plan) for number in range(10)]
    return Scenario(
        seed=1, events=(*jobs, ScenarioEvent(at, "stop", {"worker": 0, "seconds": 11.8}))
    )


#: For each mistake that is put back, a scenario that leads to its violation.
FINDINGS = {
    "stalls": (
        _jobs(
            10,
            *[ScenarioEvent(at, "stall", {"seconds": 2.6}) for at in (2, 6, 10, 14)],
            seconds=15.0,
        ),
        "no attempt is lost without a cause",
    ),
    "silence": (
        _jobs(10, ScenarioEvent(12.0, "stop", {"worker": 0, "seconds": 6.0}), seconds=20.0),
        "no attempt is lost without a cause",
    ),
    "nogroup": (_jobs(5, ScenarioEvent(2.0, "flush")), "no unexpected error"),
    "release": (_jobs(5, mixed_releases=True), "no unexpected error"),
    "poison": (
        _jobs(
            0,
            *[_job(number, number / 20, seconds=15.0) for number in range(0, 16, 2)],
            *[
                _job(number, number / 20, seconds=1.0, outcomes=("poison",) * 8)
                for number in range(1, 17, 2)
            ],
        ),
        "a job that was lost repeatedly runs alone",
    ),
    "clock": (
        _jobs(
            10,
            ScenarioEvent(3.0, "clock_jump", {"seconds": -86_400}),
            ScenarioEvent(3.1, "power_loss", {"worker": 0, "back_after": 1.0}),
            seconds=5.0,
        ),
        "every job ends",
    ),
    "excursion": (
        _jobs(
            0,
            *[_job(number, 15.35 + number / 50, seconds=3.0) for number in range(15)],
            *[_job(number, 24.95 + number / 50, seconds=3.0) for number in range(20, 35)],
            *[ScenarioEvent(at, "clock_jump", {"seconds": -3_600}) for at in (15.3, 24.9)],
            *[ScenarioEvent(at, "clock_jump", {"seconds": 3_600}) for at in (15.75, 25.35)],
        ),
        "no attempt is lost without a cause",
    ),
    "fencing": (
        _jobs(
            0,
            *[_job(number, 0.05, seconds=3.0) for number in range(40)],
            ScenarioEvent(3.3, "fail_over", {"seconds": 0.2, "forgets": 0.45}),
        ),
        "one lease per job",
    ),
    "late_results": (_stopped_worker(2.5), "one lease per job"),
    "late_failures": (_stopped_worker(1.5, outcomes=("retryable",)), "one lease per job"),
    "returns": (
        _jobs(0, _job(0, 0.1, seconds=0.3, outcomes=("unavailable",))),
        "jobs end as their builds",
    ),
    "cancellations": (
        _jobs(5, ScenarioEvent(1.0, "cancel", {"job": 0})),
        "accepted cancellations cancel",
    ),
    "webhooks": (
        _jobs(
            0,
            _job(0, 0.1, seconds=0.3, callback="ok", outcomes=("permanent",)),
            ScenarioEvent(3.0, "restart", {"job": 0}),
        ),
        "every webhook is delivered",
    ),
    "backoff": (_jobs(0, _job(0, 0.1, callback="fails_once")), "every webhook is delivered"),
    "fairness": (
        _jobs(
            8,
            *[_job(number, 0.05, user="hurried", seconds=1.0) for number in range(100, 150)],
            seconds=1.0,
        ),
        "fair share",
    ),
}


@pytest.mark.parametrize("mutation", FINDINGS)
def test_a_mistake_that_is_put_back_is_found(mutation: str) -> None:
    scenario, invariant = FINDINGS[mutation]
    assert run(scenario).violation is None
    with MUTATIONS[mutation]():
        result = run(scenario)
    assert result.violation is not None
    assert result.violation.invariant == invariant


@pytest.mark.parametrize("jumps", [
    {0.64: -86_400},  # Before the first sweep.
    {0.3: 86_400, 0.55: -86_400},  # Between two sweeps, while the retry is stored.
])  # fmt: skip
def test_a_clock_that_is_wrong_unseen_by_any_sweep_postpones_no_retry(
    jumps: dict[float, int],
) -> None:
    retry = _job(0, 0.02, seconds=0.3, outcomes=("retryable",))
    wrong = [ScenarioEvent(at, "clock_jump", {"seconds": by}) for at, by in jumps.items()]
    assert run(_jobs(0, retry, *wrong)).violation is None


def test_two_fail_overs_may_forget_the_same_changes() -> None:
    fail_overs = [
        ScenarioEvent(3.0, "fail_over", {"seconds": 0.2, "forgets": 0.3}),
        ScenarioEvent(5.0, "fail_over", {"seconds": 0.2, "forgets": 2.7}),
    ]
    assert run(_jobs(50, *fail_overs, seconds=0.5)).violation is None


def test_no_fencing_token_is_used_again_while_the_clock_is_behind_the_last_one() -> None:
    scenario = _jobs(
        0,
        *[_job(number, 0.05, outcomes=("unavailable",)) for number in range(30)],
        ScenarioEvent(0.01, "clock_jump", {"seconds": 86_400}),
        ScenarioEvent(1.5, "clock_jump", {"seconds": -86_400}),
        # Forgets that the jobs were claimed for the second time.
        ScenarioEvent(2.1, "fail_over", {"seconds": 0.2, "forgets": 0.45}),
    )
    assert run(scenario).violation is None


@pytest.mark.parametrize("at", [1.017, 1.018, 1.019])
def test_a_stream_may_vanish_before_its_groups_are_read(at: float) -> None:
    """A worker that starts has just seen that the state log of a partition exists."""
    scenario = _jobs(0, _job(0, 0.1, seconds=0.05, callback="ok"), ScenarioEvent(at, "flush"))
    assert run(scenario).violation is None


def test_a_failing_scenario_shrinks_to_the_events_that_matter() -> None:
    flush = ScenarioEvent(2.0, "flush")
    scenario = _jobs(20, flush)
    with MUTATIONS["nogroup"]():
        small, result = shrink(scenario, run(scenario), seconds=30)
    assert small.events == (flush,)
    assert result.violation is not None
    assert any("VIOLATION" in line for line in result.trace.lines())
