"""The simulated processes: real code of the worker and the API on virtual threads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from redis.exceptions import RedisError

from common.celery_app import QUEUE_PREFIX
from common.errors import (
    DependencyUnavailable,
    FileNotFound,
    NetworkError,
    ResumableDeadline,
)
from common.job_store.deliveries import Deliveries
from common.job_store.jobs import JobStore, Limits
from common.job_store.state_log import StateLog
from common.job_store.sweeper import Sweeper
from common.job_store.worker_registry import WorkerRegistration, WorkerRegistry
from common.jobs.model import PRIORITIES, Artifact, WakeUp
from common.wake_ups import Dispatcher
from tests.simulation.scenario import SLOTS
from tests.simulation.scheduler import ProcessClock, SimulatedCondition, SimulatedProcess
from tests.simulation.store import StoreClient, open_client
from worker.attempt.heartbeat import HeartbeatThread
from worker.attempt.runner import AttemptRunner, Backoff
from worker.maintenance.sweep_thread import SweepThread
from worker.webhooks import WebhookSender, WebhookThread
from worker.webhooks.http_poster import WebhookResponse

if TYPE_CHECKING:
    from common.job_store.jobs import Claim
    from tests.simulation.world import World
    from worker.attempt.control import Control
    from worker.loop_thread import LoopThread
    from worker.webhooks import WebhookPoster

#: The product's defaults.
LEASE: Final = 10.0
HEARTBEAT: Final = 0.5
SWEEP_INTERVAL: Final = 1.0
DRAIN_GRACE: Final = 5.0
#: Of the connection that shows that a worker is alive, as ``Services.own_connection`` sets it.
REGISTRATION_TIMEOUT = min(5.0, LEASE / 2)
MAX_ATTEMPTS: Final = 4
SECRET: Final = "whsec_" + "c2ltdWxhdGlvbg" * 2
#: Lifetimes of finished jobs and of archives, in seconds.
JOB_TTL: Final = 3_600.0

LIMITS: Final = Limits(
    max_active=1_000, max_attempts=MAX_ATTEMPTS, lease=LEASE, job_ttl=JOB_TTL, archive_ttl=JOB_TTL
)


class Broker:
    """Celery's queues on the store's server, as ``Dispatcher`` and the workers use them."""

    def __init__(self, world: World) -> None:
        self._world = world
        #: Share of messages that are lost on the way to a worker.
        self.loss = 0.0

    def app(self, client: StoreClient) -> Any:
        """Return what ``Dispatcher`` needs of a Celery app."""
        channel = SimpleNamespace(
            channel_errors=(),
            queue_declare=lambda queue, **_: SimpleNamespace(message_count=client.llen(queue)),
        )

        @contextmanager
        def connect() -> Iterator[Any]:
            yield SimpleNamespace(
                ensure_connection=lambda **_: None,
                channel=lambda: _entered(channel),
                channel_errors=(),
            )

        def send_task(_: str, *, args: list[Any], queue: str) -> None:
            client.lpush(queue, json.dumps({"body": json.dumps([args, {}, {}])}))

        return SimpleNamespace(
            connection_or_acquire=connect,
            connection_for_read=lambda: SimpleNamespace(
                connection_errors=(RedisError,), channel_errors=()
            ),
            send_task=send_task,
        )

    def pop(self) -> WakeUp | None:
        """Return the next message, which the server now no longer has."""
        store = self._world.store
        for priority in PRIORITIES:
            queue = (QUEUE_PREFIX + priority).encode()
            if queue in store.keys:
                message = store.command(b"RPOP", queue)
                job_id, name, sent = json.loads(json.loads(message)["body"])[0]
                return WakeUp(job_id=job_id, priority=name, sent=int(sent))
        return None


@contextmanager
def _entered(value: Any) -> Iterator[Any]:
    yield value


class _Threads(Executor):
    """Runs functions on threads of a simulated process."""

    def __init__(self, world: World, process: SimulatedProcess) -> None:
        self._world = world
        self._process = process

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            future.set_result(function(*args, **kwargs))

        self._world.scheduler.spawn(self._process, run)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: threads end with their process."""


class _Immediately(Executor):
    """Runs functions on the thread that submits them."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future


class SimulatedWorker:
    """A worker: Celery's consumer is simulated, everything behind it is the product's code."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.process = SimulatedProcess(name)
        self._world = world
        self._scheduler = world.scheduler
        self._running = 0
        clock = ProcessClock(world.scheduler)
        client = open_client(world.store, timeout=20.0)
        dispatcher = Dispatcher(
            world.broker.app(open_client(world.store, timeout=2.0)),
            same_server=world.same_server,
            executor=_Immediately(),
            clock=clock,
        )
        jobs = JobStore(client, dispatcher, LIMITS)
        self._registration = WorkerRegistration(
            open_client(world.store, timeout=REGISTRATION_TIMEOUT, own_connection=True, retries=0),
            name,
            slots=SLOTS,
            running=lambda: self.heartbeat.running_jobs(),
        )
        self.heartbeat = HeartbeatThread(
            jobs, interval=HEARTBEAT, on_heartbeat=self._registration.heartbeat, clock=clock
        )
        self._runner = AttemptRunner(
            jobs,
            self.heartbeat,
            self._build,
            name=name,
            deadline=300.0,
            backoff=Backoff(base=1.0, max_delay=60.0),
            clock=clock,
            condition=lambda: SimulatedCondition(world.scheduler),  # type: ignore[arg-type,return-value]
        )
        sweeper = SweepThread(
            Sweeper(client, dispatcher, LIMITS, max_wait=300.0),
            client=client,
            dispatcher=dispatcher,
            workers=WorkerRegistry(client),
            interval=SWEEP_INTERVAL,
            lease=LEASE,
            clock=clock,
        )
        webhooks = WebhookThread(
            StateLog(client, "webhooks", name),
            Deliveries(client),
            WebhookSender(
                cast("WebhookPoster", world.receiver),
                present=lambda job: {"jobId": job.id},
                secret=SECRET,
                clock=clock,
            ),
            posts=_Threads(world, self.process),
            clock=clock,
        )
        self._loops: list[LoopThread] = [self.heartbeat, sweeper, webhooks]

    def start(self) -> None:
        for loop in self._loops:
            task = "heartbeat" if loop is self.heartbeat else ""
            self._scheduler.spawn(self.process, partial(self._run, loop), task=task)
        self._scheduler.spawn(self.process, self._consume)

    def drain(self) -> None:
        """Do what SIGTERM does, and exit when no job runs any more."""
        self.process.draining = True
        self._scheduler.spawn(self.process, self._drain)

    def _drain(self) -> None:
        self._scheduler.sleep(DRAIN_GRACE * 0.8)
        self.heartbeat.drain()
        self._scheduler.sleep(DRAIN_GRACE * 0.2)
        while self._running:
            self._scheduler.sleep(0.1)
        with suppress(RedisError):  # Then it expires.
            self._registration.deregister()
        self._scheduler.at(self._scheduler.now, lambda: self._world.kill(self))

    def _run(self, loop: LoopThread) -> None:
        self._scheduler.sleep(loop.first_pause)
        while True:
            self._scheduler.sleep(loop.step())

    def _consume(self) -> None:
        """Take wake-ups while there are free slots, as Celery's consumer does."""
        while not self.process.draining:
            self._scheduler.sleep(0.05)
            if self._running >= SLOTS or not self._world.reachable(self.process):
                continue
            if wake_up := self._world.broker.pop():
                self._running += 1
                task = partial(self._task, wake_up)
                self._scheduler.spawn(self.process, task, task=wake_up.job_id)

    def _task(self, wake_up: WakeUp) -> None:
        try:
            # The message is on its way; if the process dies now, it is lost.
            self._scheduler.sleep(self._world.rng.uniform(0.000_2, 0.01))
            if self._world.rng.random() < self._world.broker.loss:
                self._world.trace.add(self.name, f"wake-up lost {wake_up.job_id}")
                return
            self._runner.run_download(wake_up)
        except RedisError as error:
            self._world.trace.add(self.name, f"task failed {type(error).__name__}: {error}")
        finally:
            self._running -= 1

    def _build(self, claim: Claim, control: Control) -> Artifact:
        """Spend the time that building the archive takes, and end as the scenario says."""
        plan = self._world.plans[claim.spec.metadata["job"]]
        steps = max(1, round(plan["seconds"] / 0.25))
        control.expect(files=1, bytes=steps)
        outcome = self._world.next_outcome(claim.spec.metadata["job"])
        self._world.checker.outcomes[claim.job.id, claim.lease.fencing_token] = outcome
        for step in range(steps):
            control.check()
            self._scheduler.sleep(plan["seconds"] / steps)
            control.advance(1)
            if step == steps // 2:
                if outcome == "poison":
                    self._world.crash(self)
                    self._scheduler.sleep(1.0)
                _raise(outcome)
        control.check()
        return Artifact(
            bucket="archives",
            key=f"jobs/{claim.job.id}/{claim.lease.fencing_token}/archive.zip",
            name="archive.zip",
            size=steps,
            content_type="application/zip",
        )


class SimulatedBug(Exception):
    """An unexpected error of the archive engine."""


def _raise(outcome: str) -> None:
    match outcome:
        case "retryable":
            raise NetworkError
        case "permanent":
            raise FileNotFound
        case "unavailable":
            raise DependencyUnavailable("The object storage is unavailable.")
        case "deadline":
            raise ResumableDeadline
        case "bug":
            raise SimulatedBug


class SimulatedApi:
    """The API: creates, cancels and restarts jobs, pauses the queue."""

    def __init__(self, world: World) -> None:
        self.process = SimulatedProcess("api")
        clock = ProcessClock(world.scheduler)
        self.client = open_client(world.store, timeout=2.0)
        self.dispatcher = Dispatcher(
            world.broker.app(open_client(world.store, timeout=2.0)),
            same_server=world.same_server,
            clock=clock,
        )
        self.jobs = JobStore(self.client, self.dispatcher, LIMITS)


class SimulatedReceiver:
    """Receives webhooks, in place of ``WebhookPoster``."""

    def __init__(self, world: World) -> None:
        self._world = world
        #: Ids of the webhooks that were accepted.
        self.accepted: set[str] = set()
        self._rejected: set[str] = set()

    def post(self, url: str, _body: bytes, headers: dict[str, str]) -> WebhookResponse:
        message = headers["webhook-id"]
        self._world.scheduler.sleep(self._world.rng.uniform(0.001, 0.2))
        if url.endswith("fails_once") and message not in self._rejected:
            self._rejected.add(message)
            return WebhookResponse(status=500)
        self.accepted.add(message)
        return WebhookResponse(status=204)
