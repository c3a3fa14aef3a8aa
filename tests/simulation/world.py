"""One run: builds the system, lets the scenario happen to it, and checks that it settles."""

from __future__ import annotations

import random
import secrets
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from unittest import mock

import redis.retry
import structlog
from redis.exceptions import RedisError

from common.errors import LonghaulError
from common.job_store import keys
from common.job_store.dead_letters import DeadLetters
from common.job_store.deliveries import message_id
from common.job_store.pause import Pause
from common.job_store.sweeper import BATCH
from common.jobs.model import JobSpec, Priority
from tests.simulation.invariants import CommandChecker, ObservedJob, Violation
from tests.simulation.processes import (
    JOB_TTL,
    LEASE,
    MAX_ATTEMPTS,
    SWEEP_INTERVAL,
    Broker,
    SimulatedApi,
    SimulatedBug,
    SimulatedReceiver,
    SimulatedWorker,
)
from tests.simulation.scenario import DURATION, FAULTS, WORKERS, Scenario, ScenarioEvent
from tests.simulation.scheduler import Fault, Scheduler, SimulatedProcess
from tests.simulation.store import StoreServer, close_connections
from tests.simulation.trace import Trace
from worker.deliverer import LEASE as DELIVERY_LEASE
from worker.deliverer import RETRY_DELAYS

#: Partitions of the keys: fewer than in production, as each sweep scans all of them.
PARTITIONS: Final = 2
#: Faults that may cost a job all of its attempts.
WORKER_FAULTS: Final = frozenset(FAULTS) - {"stall", "pause", "lost_messages"}
#: One run in this many ends with the check that everything expires: a tenth of a run's time.
GROWTH_CHECK_EVERY: Final = 4
#: Seconds within which everything has to end after the last fault.
SETTLE: Final = 150.0
#: Seconds until a webhook that was rejected, or whose worker died, is posted again: the first
#: backoff or the lease of the delivery, and what a jump of the store's clock may add.
MAX_WEBHOOK_WAIT: Final = max(RETRY_DELAYS[0], DELIVERY_LEASE) + 10.0


@dataclass(frozen=True, kw_only=True)
class NewerJobSpec(JobSpec):
    """A request as a newer release stores it, with a member that this one does not know."""

    compression: str = "best"


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    violation: Violation | None
    trace: Trace
    #: How often jobs reached a terminal state; one that was restarted counts again.
    lives: int


def run(scenario: Scenario) -> RunResult:
    """Run a scenario from its start to its end, or to the first violation."""
    with ExitStack() as patches:
        world = World(scenario)
        for patch in _patches(world):
            patches.enter_context(patch)
        random_state = random.getstate()
        random.seed(scenario.seed)
        logging = structlog.get_config()
        structlog.configure(processors=[world.log], cache_logger_on_first_use=False)
        try:
            world.run()
        finally:
            structlog.configure(**logging)
            random.setstate(random_state)
        return RunResult(world.checker.violation, world.trace, world.checker.ended)


def _patches(world: World) -> list[Any]:
    """Replace what the code takes from outside and no parameter can give it."""
    rng = random.Random(world.scenario.seed + 1)
    return [
        # fakeredis reads the server's clock there.
        mock.patch.object(time, "time", world.store.time),
        mock.patch.object(redis.retry, "sleep", world.sleep),
        mock.patch.object(secrets, "token_hex", lambda size: rng.randbytes(size).hex()),
        mock.patch.object(keys, "PARTITIONS", PARTITIONS),
        mock.patch.object(keys, "_TAGS", keys._TAGS[:PARTITIONS]),
    ]


class World:
    """The whole simulated system."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._thread = threading.current_thread()
        self.same_server = scenario.same_server
        self.rng = random.Random(scenario.seed + 2)
        self.scheduler = Scheduler()
        self.trace = Trace(self.scheduler)
        self.store = StoreServer(self.scheduler, self.trace, self.rng)
        self.broker = Broker(self)
        self.receiver = SimulatedReceiver(self)
        self.plans: dict[int, dict[str, Any]] = {}
        self._outcomes: dict[int, list[str]] = {}
        self.api = SimulatedApi(self)
        self.checker = CommandChecker(
            self.store,
            self.trace,
            self.api.dispatcher.template,
            max_attempts=MAX_ATTEMPTS,
            lease=LEASE,
            stop=self._stop,
        )
        self.store.on_command = self.checker.on_command
        self.workers: list[SimulatedWorker] = []
        self._generation = 0
        #: Pauses of the queue that the operators have not ended.
        self._pauses = 0
        self._ids: dict[int, str] = {}
        #: Shares of the packets, and of the messages to workers, that faults lose now.
        self._packet_losses: list[float] = []
        self._message_losses: list[float] = []

    def run(self) -> None:
        self.workers = [self._new_worker(number) for number in range(WORKERS)]
        for event in self.scenario.events:
            self._schedule(event)
        innocent = {
            job for job, plan in self.plans.items() if "poison" not in plan.get("outcomes", ())
        }
        self.checker.checks_fairness = not self.scenario.faults and len(innocent) == len(self.plans)
        self.checker.clock_jumps = "clock_jump" in self.scenario.faults
        if not self.scenario.faults & WORKER_FAULTS:
            self.checker.must_survive = innocent
        self.scheduler.run(until=DURATION + 5)
        deadline = self.scheduler.now + SETTLE
        while not self.scheduler.stopped and self.checker.unfinished():
            if self.scheduler.now > deadline:
                stuck = [
                    f"job {each.number} is {each.status}" for each in self.checker.unfinished()
                ]
                self.checker.fail("every job ends", ", ".join(stuck))
            self.scheduler.run(until=self.scheduler.now + 5)
        if not self.scheduler.stopped:
            self.checker.check_partitions()
            self._check_webhooks()
        if not self.scheduler.stopped and self.scenario.seed % GROWTH_CHECK_EVERY == 0:
            self._check_growth()

    # The scenario.

    def _schedule(self, event: ScenarioEvent) -> None:
        action = getattr(self, f"_do_{event.kind}")
        values = dict(event.values)
        if event.kind == "create":
            self.plans[values["job"]] = values
            self._outcomes[values["job"]] = list(values.get("outcomes", ()))
        if event.kind == "fail_over":
            values["replica"] = self._replica_at(event.at - values.pop("forgets"))
        if event.kind in ("create", "cancel", "restart"):
            request = partial(self._request, event.kind, action, values)
            self.scheduler.at(event.at, lambda: self.scheduler.spawn(self.api.process, request))
            return

        def happen() -> None:
            self.trace.add("FAULT", str(event))
            action(**values)

        self.scheduler.at(event.at, happen)

    def _request(self, kind: str, action: Callable[..., object], values: dict[str, Any]) -> None:
        try:
            action(**values)
        except (LonghaulError, RedisError) as error:
            job = values["job"]
            self.trace.add("api", f"{kind} job {job}: {type(error).__name__}: {error}")

    def _do_create(self, job: int, user: str, priority: str, **plan: Any) -> None:
        callback = plan.get("callback")
        spec_class = NewerJobSpec if self.scenario.mixed_releases and job % 2 else JobSpec
        accepted = self.api.jobs.create(
            user,
            spec_class(
                file_ids=(job,),
                priority=Priority(priority),
                callback_url=callback and f"https://receiver.example/{callback}",
                metadata={"job": job},
            ),
        )
        self._ids[job] = accepted.job.id

    def _do_cancel(self, job: int) -> None:
        if job in self._ids:
            self.api.jobs.cancel(self._ids[job])

    def _do_restart(self, job: int) -> None:
        if job in self._ids:
            self.api.jobs.restart(self._ids[job])

    def next_outcome(self, job: int) -> str:
        """Return how the next attempt at a job ends."""
        outcomes = self._outcomes[job]
        return outcomes.pop(0) if outcomes else "ok"

    # Faults of workers.

    def _new_worker(self, number: int) -> SimulatedWorker:
        self._generation += 1
        worker = SimulatedWorker(self, f"worker{number}.{self._generation}")
        self.checker.workers[worker.name] = worker.process
        worker.start()
        return worker

    def crash(self, worker: SimulatedWorker) -> None:
        """Kill a worker from one of its own threads."""
        number = self.workers.index(worker)
        self.trace.add(worker.name, "killed by its job")
        self.scheduler.at(self.scheduler.now, lambda: self._do_crash(number, back_after=1.0))

    def kill(self, worker: SimulatedWorker, *, closes: bool = True) -> None:
        self.scheduler.kill(worker.process)
        if closes:
            close_connections(self.store, worker.process)

    def _replace(self, number: int, after: float) -> None:
        def start() -> None:
            self.workers[number] = self._new_worker(number)

        self.scheduler.at(self.scheduler.now + after, start)

    def _do_crash(self, worker: int, back_after: float, *, closes: bool = True) -> None:
        if self.workers[worker].process.alive:
            self.kill(self.workers[worker], closes=closes)
            self._replace(worker, back_after)

    def _do_power_loss(self, worker: int, back_after: float) -> None:
        self._do_crash(worker, back_after, closes=False)

    def _do_drain(self, worker: int, back_after: float) -> None:
        draining = self.workers[worker]
        if draining.process.alive and not draining.process.draining:
            draining.drain()
            self._replace(worker, back_after)

    def _do_stop(self, worker: int, seconds: float) -> None:
        process = self.workers[worker].process
        process.stopped_until = max(process.stopped_until, self.scheduler.now + seconds)
        process.faults.append(Fault("stop", self.scheduler.now, self.scheduler.now + seconds))

    def _do_cut_off(self, worker: int, seconds: float) -> None:
        process = self.workers[worker].process
        process.cut_off_until = max(process.cut_off_until, self.scheduler.now + seconds)
        process.faults.append(Fault("cut_off", self.scheduler.now, self.scheduler.now + seconds))

    def reachable(self, process: SimulatedProcess) -> bool:
        """Return whether the broker responds to a process."""
        now = self.scheduler.now
        return now >= max(process.cut_off_until, self.store.down_until, self.store.stalled_until)

    # Faults of the store.

    def _do_stall(self, seconds: float) -> None:
        self.store.stalled_until = max(self.store.stalled_until, self.scheduler.now + seconds)

    def _do_restart_store(self, seconds: float) -> None:
        self.store.restart()
        self._keep_down(seconds)
        self.store.started_at = self.store.down_until

    def _keep_down(self, seconds: float) -> None:
        self.store.down_until = max(self.store.down_until, self.scheduler.now + seconds)

    def _replica_at(self, time: float) -> Callable[[], tuple[Any, Any]]:
        """Copy what the store knows at ``time``; return a function that returns the copy once.

        Each failover has its own replica, which knows nothing newer.
        """
        copies: list[tuple[Any, Any]] = []

        def copy() -> None:
            copies.append((self.store.copy_data(), self.checker.copy_jobs()))

        self.scheduler.at(max(0.0, time), copy)
        return copies.pop

    def _do_fail_over(self, seconds: float, replica: Callable[[], tuple[Any, Any]]) -> None:
        data, jobs = replica()
        self.checker.go_back_to(jobs)
        self.store.restart(data, new_process=False)
        self._keep_down(seconds)
        if not self._pauses:
            # The failover may have forgotten that an operator resumed the queue. The operators'
            # page then shows that it is paused, and they resume it again.
            resume = partial(self._until_it_works, Pause(self.api.client).resume)
            self.scheduler.spawn(self.api.process, resume)

    def _do_flush(self) -> None:
        self.checker.jobs = {}
        self.store.command(b"FLUSHALL")

    def _do_clock_jump(self, seconds: float) -> None:
        self.store.clock_offset += seconds

    def _do_loss(self, seconds: float, share: float) -> None:
        self._lose(self.store, self._packet_losses, seconds, share)

    def _do_lost_messages(self, seconds: float, share: float) -> None:
        self._lose(self.broker, self._message_losses, seconds, share)

    def _lose(
        self, where: StoreServer | Broker, shares: list[float], seconds: float, share: float
    ) -> None:
        """Lose the highest of the ``shares`` that are lost now, to which this adds one."""
        shares.append(share)
        where.loss = max(shares)

        def end() -> None:
            shares.remove(share)
            where.loss = max(shares, default=0.0)

        self.scheduler.at(self.scheduler.now + seconds, end)

    def _do_pause(self, seconds: float) -> None:
        def pause() -> None:
            self._pauses += 1
            self._until_it_works(Pause(self.api.client).pause)
            self.scheduler.sleep(seconds)
            self._pauses -= 1
            self._until_it_works(Pause(self.api.client).resume)

        self.scheduler.spawn(self.api.process, pause)

    def _until_it_works(self, call: Callable[[], object]) -> None:
        while True:
            try:
                call()
            except RedisError:
                self.scheduler.sleep(1.0)
            else:
                return

    # The end.

    def _check_webhooks(self) -> None:
        """Every terminal state with a callback URL is delivered, or its next attempt is planned."""
        deadline = self.scheduler.now + 60
        while self._undelivered() and self.scheduler.now < deadline:
            self.scheduler.run(until=self.scheduler.now + 2)
        for record, version in self._undelivered():
            wait = self._seconds_until_due(record.id, version)
            if wait is None or not -10 < wait < MAX_WEBHOOK_WAIT:
                self.checker.fail(
                    "every webhook is delivered",
                    f"job {record.number} v{version}, now {record.status}: due in {wait} s",
                )

    def _undelivered(self) -> list[tuple[ObservedJob, int]]:
        return [
            (record, version)
            for record in self.checker.jobs.values()
            for version in record.webhooks
            if message_id(record.id, version) not in self.receiver.accepted
        ]

    def _seconds_until_due(self, job_id: str, version: int) -> float | None:
        """Return when the next attempt at a delivery is planned, or None if there is none."""
        key = keys.of_partition("deliveries_due", keys.tag_of_job(job_id))
        delivery = self.store.keys.get(keys.delivery(job_id, version).encode())
        due = self.store.keys.get(key.encode())
        if delivery is None or due is None:
            return None
        score = due.value.get(f"{job_id}:{version}".encode())
        return None if score is None else score / 1000 - self.store.time()

    def _check_growth(self) -> None:
        """Long after the last job, nothing is left but totals."""
        for worker in self.workers:
            self.kill(worker)
        # First the archives expire, then the jobs. Webhooks that are due then are kept longer.
        for days in (0, 5, 5, 5):
            self.store.clock_offset += JOB_TTL + 60 + days * 86_400
            self._sweep_once()
        kept = ("jobs:totals:", "jobs:journal:", "longhaul.", "worker")
        left = [
            key.decode()
            for key, item in self.store.keys.items()
            if item.expireat is None and not key.decode().startswith(kept)
        ]
        if left:
            self.checker.fail("nothing without an expiry", ", ".join(sorted(left)[:10]))

    def _sweep_once(self) -> None:
        worker = self._new_worker(0)
        dead_letters = DeadLetters(self.api.client, self.api.jobs)
        delete_old = partial(dead_letters.delete_old, JOB_TTL)
        self.scheduler.spawn(self.api.process, partial(self._until_it_works, delete_old))
        # A sweep removes up to ``BATCH`` jobs of a partition.
        sweeps = 2 + len(self.plans) // BATCH
        self.scheduler.run(until=self.scheduler.now + sweeps * SWEEP_INTERVAL)
        self.kill(worker)

    def log(self, _logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
        """Add what the product logs to the trace. An unexpected error is a violation."""
        if self._is_outside():
            raise structlog.DropEvent
        process = self.scheduler.calling
        error = event.pop("exc_info", None)
        text = " ".join(f"{name}={value}" for name, value in event.items())
        self.trace.add(process.name if process else "-", f"{level}: {text}")
        cause = sys.exc_info()[1] if error is True else error
        if level in ("error", "critical") and not isinstance(cause, SimulatedBug):
            self.checker.fail("no unexpected error", f"{text} {cause!r}")
        raise structlog.DropEvent

    def sleep(self, seconds: float) -> None:
        """Wait in virtual time, in place of ``time.sleep``."""
        if self._is_outside():
            time.sleep(seconds)
        else:
            self.scheduler.sleep(seconds)

    def _is_outside(self) -> bool:
        """Return whether another thread calls: earlier tests in this process can leave some."""
        return threading.current_thread() is not self._thread

    def _stop(self) -> None:
        self.scheduler.stopped = True
