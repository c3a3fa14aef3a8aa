"""What happens to the system in one run: requests of users and faults, all derived from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final

#: Seconds during which requests and faults come; then the system has to settle.
DURATION: Final = 40.0
WORKERS: Final = 3
SLOTS: Final = 6
USERS: Final = 8
#: Jobs per second: about what the slots can do.
RATE: Final = 15.0

#: Every kind of fault. A run has some of them, so that none hides another.
FAULTS: Final = (
    *("crash", "power_loss", "stop", "cut_off", "drain"),
    *("stall", "restart_store", "fail_over", "flush", "clock_jump"),
    *("loss", "lost_messages", "pause"),
)
#: The maximum number of faults in a run.
MAX_FAULTS: Final = 12


@dataclass(frozen=True)
class Event:
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
    events: tuple[Event, ...]
    same_server: bool = True


def scenario_of(seed: int) -> Scenario:
    """Return the run that belongs to a seed."""
    rng = random.Random(seed)
    events = _jobs(rng) + _faults(rng)
    return Scenario(
        seed=seed,
        events=tuple(sorted(events, key=lambda event: event.at)),
        same_server=rng.random() < 0.7,
    )


def _jobs(rng: random.Random) -> list[Event]:
    events: list[Event] = []
    at, number = 0.0, 0
    while (at := at + rng.expovariate(RATE)) < DURATION:
        number += 1
        plan = {
            "job": number,
            "user": f"user{rng.randrange(USERS)}",
            "priority": rng.choices(["high", "normal", "low"], [1, 6, 1])[0],
            "seconds": round(rng.choice([0.05, 0.3, 0.3, 1.0, rng.expovariate(0.5)]), 3),
        }
        if rng.random() < 0.3:
            plan["callback"] = rng.choice(["ok", "ok", "fails_once"])
        if outcomes := _outcomes(rng):
            plan["outcomes"] = outcomes
        events.append(Event(round(at, 4), "create", plan))
        if rng.random() < 0.08:
            later = round(at + rng.uniform(0.0, 3.0), 4)
            events.append(Event(later, rng.choice(["cancel", "restart"]), {"job": number}))
    return events


def _outcomes(rng: random.Random) -> tuple[str, ...]:
    """Return how the first attempts end; the others succeed."""
    if rng.random() < 0.85:
        return ()
    kinds = ["retryable", "retryable", "permanent", "unavailable", "deadline", "bug"]
    return tuple(rng.choice(kinds) for _ in range(rng.randint(1, 5)))


def _faults(rng: random.Random) -> list[Event]:
    kinds = rng.sample(FAULTS, rng.randint(0, 4))
    if not kinds:
        return []
    return [_fault(rng, rng.choice(kinds)) for _ in range(rng.randint(1, MAX_FAULTS))]


def _fault(rng: random.Random, kind: str) -> Event:
    worker = {"worker": rng.randrange(WORKERS)}
    values: dict[str, Any] = {
        "crash": lambda: {**worker, "back_after": rng.uniform(0.2, 8)},
        "power_loss": lambda: {**worker, "back_after": rng.uniform(0.2, 8)},
        "stop": lambda: {**worker, "seconds": rng.choice([0.7, 2.5, 6, 14])},
        "cut_off": lambda: {**worker, "seconds": rng.choice([0.7, 2.5, 6, 14])},
        "drain": lambda: {**worker, "back_after": rng.uniform(0.2, 4)},
        "stall": lambda: {"seconds": rng.uniform(0.5, 5)},
        "restart_store": lambda: {"seconds": rng.uniform(0.2, 15)},
        "fail_over": lambda: {"seconds": rng.uniform(0.5, 15), "forgets": rng.uniform(0.05, 2)},
        "flush": dict,
        "clock_jump": lambda: {"seconds": rng.choice([-86_400, -3_600, -20, 20, 3_600, 86_400])},
        "loss": lambda: {"seconds": rng.uniform(1, 8), "share": rng.choice([0.01, 0.05, 0.2])},
        "lost_messages": lambda: {"seconds": rng.uniform(1, 8), "share": rng.choice([0.1, 0.5])},
        "pause": lambda: {"seconds": rng.uniform(1, 10)},
    }[kind]()
    rounded = {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in values.items()
    }
    return Event(round(rng.uniform(0.5, DURATION), 3), kind, rounded)
