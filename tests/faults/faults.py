"""The faults, each a function that breaks something, leaves it broken a while, and mends it."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from typing import Final

from tests.faults.environment import Arena
from tests.support.s3_proxy import ANY_REQUEST

#: A fault gets the arena and a source of chance; it returns when all is mended again.
Inject = Callable[[Arena, random.Random], None]


def kill_worker(arena: Arena, rng: random.Random) -> None:
    arena.restart(rng.choice(arena.system.workers))


def stop_and_continue_worker(arena: Arena, rng: random.Random) -> None:
    """SIGSTOP for longer or shorter than a lease; afterwards it is a zombie or a late riser."""
    _stop_and_continue(arena, rng.choice(arena.system.workers), rng.uniform(1, 14))


def roll_worker(arena: Arena, rng: random.Random) -> None:
    """SIGTERM and a new one, as a deploy does."""
    name = rng.choice(arena.system.workers)
    arena.system.stop_component(name)
    arena.system.start_component(name)


def jump_clock(arena: Arena, rng: random.Random) -> None:
    """Up to ten minutes to and fro; more than fifteen no S3 takes a signature from."""
    worker = rng.choice(arena.system.workers)
    arena.shift_clock(worker, rng.randint(-600, 600))
    time.sleep(rng.uniform(1, 4))
    # The next jump: it goes on with another wrong time, as the others may.
    arena.shift_clock(worker, rng.randint(-600, 600))


def kill_api(arena: Arena, _: random.Random) -> None:
    arena.restart("api")


def stop_and_continue_api(arena: Arena, rng: random.Random) -> None:
    _stop_and_continue(arena, "api", rng.uniform(0.5, 6))


def kill_valkey(arena: Arena, rng: random.Random) -> None:
    arena.restart("valkey", after=rng.choice([0, 0, 1, 5]))


def stop_and_continue_valkey(arena: Arena, rng: random.Random) -> None:
    _stop_and_continue(arena, "valkey", rng.uniform(0.5, 8))


def kill_s3(arena: Arena, rng: random.Random) -> None:
    arena.restart("s3", after=rng.choice([0, 1, 3]))


def stop_and_continue_s3(arena: Arena, rng: random.Random) -> None:
    _stop_and_continue(arena, "s3", rng.uniform(0.5, 8))


def _stop_and_continue(arena: Arena, part: str, seconds: float) -> None:
    process = arena.system.processes[part]
    process.signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.signal(signal.SIGCONT)


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
    chosen = rng.sample(ANY_REQUEST, rng.randint(1, 3))
    arena.s3_faults.fail(*chosen, share=rng.uniform(0.05, 0.3))
    time.sleep(rng.uniform(1, 5))
    arena.heal()


def fill_s3_disk(arena: Arena, rng: random.Random) -> None:
    """Reads go on, every write is refused, as by a store whose disk is full."""
    arena.s3_faults.fail("507", share=1.0)
    time.sleep(rng.uniform(1, 6))
    arena.heal()


#: What strikes a process, three times as often a worker; what strikes a line or the storage.
PROCESSES: Final[tuple[Inject, ...]] = (
    kill_worker,
    kill_worker,
    kill_worker,
    stop_and_continue_worker,
    roll_worker,
    jump_clock,
    kill_api,
    stop_and_continue_api,
    kill_valkey,
    stop_and_continue_valkey,
    kill_s3,
    stop_and_continue_s3,
)
LINES: Final[tuple[Inject, ...]] = (
    reset_valkey_line,
    hold_valkey_line,
    slow_valkey_line,
    reset_s3_line,
    hold_s3_line,
    slow_s3_line,
    fail_s3,
    fail_s3,
    fill_s3_disk,
)
