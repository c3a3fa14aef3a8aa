"""The faults, each a function that breaks something, leaves it broken a while, and mends it."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from typing import Final

from tests.faults.arena import Arena
from tests.s3_proxy import FAULTS, Fault

#: A fault gets the arena and a source of chance; it returns when all is mended again.
Inject = Callable[[Arena, random.Random], None]


def kill_worker(arena: Arena, rng: random.Random) -> None:
    arena.restart(rng.choice(arena.system.workers))


def stop_and_continue_worker(arena: Arena, rng: random.Random) -> None:
    """SIGSTOP for longer or shorter than a lease; afterwards it is a zombie or a late riser."""
    process = arena.system.processes[rng.choice(arena.system.workers)]
    process.signal(signal.SIGSTOP)
    time.sleep(rng.uniform(1, 14))
    process.signal(signal.SIGCONT)


def roll_worker(arena: Arena, rng: random.Random) -> None:
    """SIGTERM and a new one, as a deploy does."""
    name = rng.choice(arena.system.workers)
    arena.system.stop_part(name)
    arena.system.start_part(name)


def kill_api(arena: Arena, _: random.Random) -> None:
    arena.restart("api")


def kill_beat(arena: Arena, _: random.Random) -> None:
    arena.restart("beat")


def kill_valkey(arena: Arena, rng: random.Random) -> None:
    arena.restart("valkey", after=rng.choice([0, 0, 1, 5]))


def stop_and_continue_valkey(arena: Arena, rng: random.Random) -> None:
    process = arena.system.processes["valkey"]
    process.signal(signal.SIGSTOP)
    time.sleep(rng.uniform(0.5, 8))
    process.signal(signal.SIGCONT)


def kill_s3(arena: Arena, rng: random.Random) -> None:
    arena.restart("s3", after=rng.choice([0, 1, 3]))


def reset_valkey_line(arena: Arena, _: random.Random) -> None:
    arena.valkey_line.reset()


def hold_valkey_line(arena: Arena, rng: random.Random) -> None:
    """Half-open: connections stay but not a byte passes."""
    arena.valkey_line.hold()
    time.sleep(rng.uniform(0.5, 8))
    arena.valkey_line.restore()


def slow_valkey_line(arena: Arena, rng: random.Random) -> None:
    arena.valkey_line.delay(rng.uniform(0.02, 0.2))
    time.sleep(rng.uniform(1, 4))
    arena.valkey_line.restore()


def reset_s3_line(arena: Arena, _: random.Random) -> None:
    arena.s3_line.reset()


def hold_s3_line(arena: Arena, rng: random.Random) -> None:
    arena.s3_line.hold()
    time.sleep(rng.uniform(0.5, 6))
    arena.heal()


def slow_s3_line(arena: Arena, rng: random.Random) -> None:
    arena.s3_line.slow(rng.uniform(20_000, 200_000))
    time.sleep(rng.uniform(1, 4))
    arena.heal()


def fail_s3(arena: Arena, rng: random.Random) -> None:
    """Errors, truncated and falsified bodies, for a share of the requests."""
    chosen: list[Fault] = rng.sample(FAULTS, rng.randint(1, 3))
    arena.s3_faults.fail(*chosen, share=rng.uniform(0.05, 0.3))
    time.sleep(rng.uniform(1, 5))
    arena.heal()


ALL: Final[tuple[Inject, ...]] = (
    kill_worker,
    kill_worker,
    kill_worker,
    stop_and_continue_worker,
    roll_worker,
    kill_api,
    kill_beat,
    kill_valkey,
    stop_and_continue_valkey,
    kill_s3,
    reset_valkey_line,
    hold_valkey_line,
    slow_valkey_line,
    reset_s3_line,
    hold_s3_line,
    slow_s3_line,
    fail_s3,
    fail_s3,
)
