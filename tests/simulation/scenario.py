"""What happens to the system in one run: requests of users and faults, all derived from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

#: Seconds during which requests and faults come; then the system has to settle.
DURATION: Final = 40.0
WORKERS: Final = 3
SLOTS: Final = 10
USERS: Final = 8
#: Jobs per second: about what the slots can do.
RATE: Final = 25.0
#: Jobs that one user creates at once.
BURST: Final = 60

#: Every kind of fault. A run has some of them, so that none hides another.
FAULTS: Final = (
    *("crash", "power_loss", "stop", "cut_off", "drain"),
    *("stall", "restart_store", "fail_over", "flush", "clock_jump"),
    *("loss", "lost_messages", "pause"),
)
#: The maximum number of faults in a run.
MAX_FAULTS: Final = 16


@dataclass(frozen=True)
class ScenarioEvent:
    """Something that happens from outside at a moment."""

    at: float
    kind: str
    values: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join([self.kind, *(f"{name}={value}" for name, value in self.values.items())])


@dataclass(frozen=True)
class Scenario:
    """A run: the seed decides what is random inside, such as delays of packets."""

    seed: int
    events: tuple[ScenarioEvent, ...]
    #: Whether the broker's queues lie on the job store's server, so that scripts push the wake-ups.
    same_server: bool = True
    #: Whether some requests come from the API of a newer release.
    mixed_releases: bool = False

    @property
    def faults(self) -> frozenset[str]:
        return frozenset(event.kind for event in self.events) - {"create", "cancel", "restart"}


def scenario_of(seed: int) -> Scenario:
    """Return the run that belongs to a seed."""
    rng = random.Random(seed)
    kinds = rng.sample(FAULTS, rng.randint(0, 4))
    has_poison = rng.random() < 0.1
    if has_poison:
        kinds = []  # All losses are the poison's fault then.
    events = _jobs(rng, has_poison=has_poison) + _faults(rng, kinds)
    return Scenario(
        seed=seed,
        events=tuple(sorted(events, key=lambda event: event.at)),
        same_server=rng.random() < 0.7,
        mixed_releases=rng.random() < 0.2,
    )


def _jobs(rng: random.Random, *, has_poison: bool) -> list[ScenarioEvent]:
    events: list[ScenarioEvent] = []
    times = _times(rng)
    poisonous = set(rng.sample(range(len(times)), 2)) if has_poison else set()
    for number, at in enumerate(times):
        plan = {
            "job": number,
            "user": f"user{rng.randrange(USERS)}",
            "priority": rng.choices(["high", "normal", "low"], [1, 6, 1])[0],
            "seconds": round(rng.choice([0.05, 0.3, 0.3, 1.0, rng.expovariate(0.5)]), 3),
        }
        if rng.random() < 0.3:
            plan["callback"] = rng.choice(["ok", "ok", "fails_once"])
        if number in poisonous:
            plan["outcomes"] = ("poison",) * 8
        elif outcomes := _outcomes(rng):
            plan["outcomes"] = outcomes
        if number >= len(times) - BURST:
            plan |= {"user": "hurried", "priority": "normal"}
        events.append(ScenarioEvent(round(at, 4), "create", plan))
        if rng.random() < 0.08:
            later = round(at + rng.uniform(0.0, 3.0), 4)
            events.append(ScenarioEvent(later, rng.choice(["cancel", "restart"]), {"job": number}))
    return events


def _times(rng: random.Random) -> list[float]:
    """Return when jobs are created: at random times, and many at once for one user."""
    times, at = [], 0.0
    while (at := at + rng.expovariate(RATE)) < DURATION:
        times.append(at)
    return times + [rng.uniform(0.0, DURATION)] * BURST


def _outcomes(rng: random.Random) -> tuple[str, ...]:
    """Return how the first attempts end; the others succeed."""
    if rng.random() < 0.85:
        return ()
    kinds = ["retryable", "retryable", "permanent", "unavailable", "deadline", "bug"]
    return tuple(rng.choice(kinds) for _ in range(rng.randint(1, 5)))


def _faults(rng: random.Random, kinds: list[str]) -> list[ScenarioEvent]:
    if not kinds:
        return []
    return [_fault(rng, rng.choice(kinds)) for _ in range(rng.randint(1, MAX_FAULTS))]


def _fault(rng: random.Random, kind: str) -> ScenarioEvent:
    worker = {"worker": rng.randrange(WORKERS)}
    values_of: dict[str, Callable[[], dict[str, Any]]] = {
        "crash": lambda: {**worker, "back_after": rng.uniform(0.2, 8)},
        "power_loss": lambda: {**worker, "back_after": rng.uniform(0.2, 8)},
        "stop": lambda: {**worker, "seconds": rng.choice([0.7, 2.5, 6, 14])},
        "cut_off": lambda: {**worker, "seconds": rng.choice([0.7, 2.5, 6, 14])},
        "drain": lambda: {**worker, "back_after": rng.uniform(0.2, 4)},
        "stall": lambda: {"seconds": rng.uniform(0.5, 5)},
        "restart_store": lambda: {"seconds": rng.uniform(0.2, 15)},
        "fail_over": lambda: {"seconds": rng.uniform(0.5, 15), "forgets": rng.uniform(0.05, 2)},
        "flush": dict,
        "clock_jump": lambda: {
            "seconds": rng.choice([-86_400, -3_600, -20, -4, 20, 3_600, 86_400])
        },
        "loss": lambda: {"seconds": rng.uniform(1, 8), "share": rng.choice([0.01, 0.05, 0.2])},
        "lost_messages": lambda: {"seconds": rng.uniform(1, 8), "share": rng.choice([0.1, 0.5])},
        "pause": lambda: {"seconds": rng.uniform(1, 10)},
    }
    rounded = {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in values_of[kind]().items()
    }
    return ScenarioEvent(round(rng.uniform(0.5, DURATION), 3), kind, rounded)
