"""The faults. Each function breaks something, waits, and repairs it."""

from __future__ import annotations

import math
import random
import signal
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import text

from common.history import open_engine
from common.history.tables import CHANGES
from tests.faults.environment import Environment
from tests.support.s3_proxy import ANY_REQUEST

#: Seconds for which a worker may be stopped without losing its leases, which last ten seconds.
HARMLESS_STOP: Final = 8.0

#: A fault gets the environment and a random generator. It returns when everything is repaired.
Inject = Callable[[Environment, random.Random], None]


def kill_worker(environment: Environment, rng: random.Random) -> None:
    environment.restart(rng.choice(environment.system.workers))


def stop_and_continue_worker(environment: Environment, rng: random.Random) -> None:
    """Stop a worker for longer or shorter than its leases last."""
    _stop_and_continue(environment, rng.choice(environment.system.workers), rng.uniform(1, 14))


def roll_worker(environment: Environment, rng: random.Random) -> None:
    """Replace a worker as a deployment does, with SIGTERM."""
    name = rng.choice(environment.system.workers)
    environment.system.stop_component(name)
    environment.system.start_component(name)


def jump_clock(environment: Environment, rng: random.Random) -> None:
    """Shift a clock by up to ten minutes: S3 rejects signatures that are 15 minutes off."""
    worker = rng.choice(environment.system.workers)
    environment.shift_clock(worker, rng.randint(-600, 600))
    time.sleep(rng.uniform(1, 4))
    # A second jump; the clock stays wrong.
    environment.shift_clock(worker, rng.randint(-600, 600))


def kill_api(environment: Environment, _: random.Random) -> None:
    environment.restart("api")


def stop_and_continue_api(environment: Environment, rng: random.Random) -> None:
    _stop_and_continue(environment, "api", rng.uniform(0.5, 6))


def kill_valkey(environment: Environment, rng: random.Random) -> None:
    """Kill Valkey just after it synced its file, because it loses no write then.

    With ``appendfsync everysec``, it responds before a write is in the file if the previous sync
    still runs, which takes up to two seconds on a busy disk (docs/reliability.md).
    """
    environment.redis.set("soak:synced", 1)
    environment.redis.execute_command("WAITAOF", 1, 0, 5_000)
    environment.restart("valkey", after=rng.choice([0, 0, 1, 5]))


def stop_and_continue_valkey(environment: Environment, rng: random.Random) -> None:
    _stop_and_continue(environment, "valkey", rng.uniform(0.5, 8))


def demote_valkey(environment: Environment, rng: random.Random) -> None:
    """Make Valkey a replica for a while: writes get READONLY, blocking reads UNBLOCKED."""
    environment.redis.replicaof("127.0.0.1", 1)
    time.sleep(rng.uniform(0.5, 5))
    environment.redis.replicaof("NO", "ONE")


def miss_replicas(environment: Environment, rng: random.Random) -> None:
    """Reject writes with NOREPLICAS, as a primary does that lost its replicas."""
    environment.redis.config_set("min-replicas-to-write", 1)
    time.sleep(rng.uniform(0.5, 5))
    environment.redis.config_set("min-replicas-to-write", 0)


def fill_valkey_memory(environment: Environment, rng: random.Random) -> None:
    """Reject new jobs with OOM. Those that run have to be able to end."""
    environment.redis.config_set("maxmemory", 1)
    time.sleep(rng.uniform(0.5, 5))
    environment.redis.config_set("maxmemory", 0)


def jump_valkey_clock(environment: Environment, rng: random.Random) -> None:
    """Shift the job store's clock by up to a day, and back. Its TIME scores every lease."""
    environment.shift_clock("valkey", rng.randint(-80_000, 80_000))
    time.sleep(rng.uniform(1, 4))
    environment.shift_clock("valkey", 0)


def reject_history_writes(environment: Environment, rng: random.Random) -> None:
    """Make PostgreSQL reject writes by an error that is no outage."""
    engine = open_engine(environment.system.env["DATABASE_URL"], timeout=10, size=1)
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {CHANGES.name} RENAME TO renamed"))
    time.sleep(rng.uniform(0.5, 5))
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE renamed RENAME TO {CHANGES.name}"))
    engine.dispose()


def kill_s3(environment: Environment, rng: random.Random) -> None:
    environment.restart("s3", after=rng.choice([0, 1, 3]))


def stop_and_continue_s3(environment: Environment, rng: random.Random) -> None:
    _stop_and_continue(environment, "s3", rng.uniform(0.5, 8))


def _stop_and_continue(environment: Environment, part: str, seconds: float) -> None:
    process = environment.system.processes[part]
    if part in environment.system.workers and seconds > HARMLESS_STOP:
        environment.lost_workers.add(process.pid)
    if part == "api":
        environment.api_continued = math.inf
    process.signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.signal(signal.SIGCONT)
    if part == "api":
        environment.api_continued = time.monotonic()


def reset_valkey_connection(environment: Environment, _: random.Random) -> None:
    environment.valkey_tcp_proxy.reset()


def hold_valkey_connection(environment: Environment, rng: random.Random) -> None:
    """Keep connections half-open: no byte passes."""
    environment.valkey_tcp_proxy.hold()
    time.sleep(rng.uniform(0.5, 8))
    environment.valkey_tcp_proxy.restore()


def slow_valkey_connection(environment: Environment, rng: random.Random) -> None:
    environment.valkey_tcp_proxy.delay(rng.uniform(0.02, 0.2))
    time.sleep(rng.uniform(1, 4))
    environment.valkey_tcp_proxy.restore()


def reset_s3_connection(environment: Environment, _: random.Random) -> None:
    environment.s3_tcp_proxy.reset()


def hold_s3_connection(environment: Environment, rng: random.Random) -> None:
    environment.s3_tcp_proxy.hold()
    time.sleep(rng.uniform(0.5, 6))
    environment.heal()


def slow_s3_connection(environment: Environment, rng: random.Random) -> None:
    environment.s3_tcp_proxy.slow(rng.uniform(20_000, 200_000))
    time.sleep(rng.uniform(1, 4))
    environment.heal()


def fail_s3(environment: Environment, rng: random.Random) -> None:
    """Inject errors, truncated bodies and corrupted bodies into a share of the requests."""
    chosen = rng.sample(ANY_REQUEST, rng.randint(1, 3))
    environment.s3_faults.fail(*chosen, share=rng.uniform(0.05, 0.3))
    time.sleep(rng.uniform(1, 5))
    environment.heal()


def fill_s3_disk(environment: Environment, rng: random.Random) -> None:
    """Reject every write, as an S3 server does whose disk is full."""
    environment.s3_faults.fail("507", share=1.0)
    time.sleep(rng.uniform(1, 6))
    environment.heal()


#: Faults of processes, workers more often than others; faults of connections and of the storage.
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
    demote_valkey,
    miss_replicas,
    fill_valkey_memory,
    jump_valkey_clock,
    reject_history_writes,
    kill_s3,
    stop_and_continue_s3,
)
LINES: Final[tuple[Inject, ...]] = (
    reset_valkey_connection,
    hold_valkey_connection,
    slow_valkey_connection,
    reset_s3_connection,
    hold_s3_connection,
    slow_s3_connection,
    fail_s3,
    fail_s3,
    fill_s3_disk,
)
#: Faults during which the storage responds, but not to all requests as it should.
PARTIAL: Final[tuple[Inject, ...]] = (fail_s3, fill_s3_disk)
