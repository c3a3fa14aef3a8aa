"""Virtual time: the order in which everything happens depends on nothing but the program.

Each simulated thread is a greenlet. It runs until it sleeps; then the earliest event comes next. So
an hour of waiting costs nothing, and no other thread can interfere.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from greenlet import getcurrent, greenlet

#: What the clocks show at the start: 2030-01-01, in seconds since 1970.
EPOCH: Final = 1_893_456_000.0
#: A time before everything.
NEVER: Final = -1e9


class Killed(BaseException):
    """Ends a thread of a process that was killed."""


class Thread(greenlet):  # type: ignore[misc]
    """A thread of a simulated process."""

    process: SimulatedProcess
    #: What it works on: the id of a job, "heartbeat", or empty.
    task: str


@dataclass(frozen=True)
class Fault:
    """A time in which a process could do nothing, or not reach the store."""

    kind: str
    start: float
    end: float


@dataclass(eq=False)
class SimulatedProcess:
    """A process of the simulated system: it can be killed, and stopped and continued."""

    name: str
    alive: bool = True
    #: Whether it shuts down after SIGTERM.
    draining: bool = False
    #: Until then none of its threads runs, as after SIGSTOP.
    stopped_until: float = NEVER
    #: Until then nothing that it sends arrives.
    cut_off_until: float = NEVER
    #: Each stop and cut-off.
    faults: list[Fault] = field(default_factory=list)
    #: Until when a thread was kept by the last packet that it lost, by the thread's task.
    disturbed_until: dict[str, float] = field(default_factory=dict)
    threads: list[Thread] = field(default_factory=list)


class Scheduler:
    """Runs the threads of all processes, one at a time, on one virtual clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sequence = count()
        self._events: list[tuple[float, int, Callable[[], object], SimulatedProcess | None]] = []
        self._main: Any = getcurrent()
        self._until = 0.0
        #: Set by a violation: nothing more happens.
        self.stopped = False

    @property
    def calling(self) -> SimulatedProcess | None:
        """The process whose thread runs now, or None between threads."""
        return getattr(getcurrent(), "process", None)

    @property
    def current(self) -> SimulatedProcess:
        """The process whose thread runs now."""
        return getcurrent().process  # type: ignore[no-any-return]

    @property
    def task(self) -> str:
        """What the thread works on that runs now."""
        return getattr(getcurrent(), "task", "")

    def spawn(
        self, process: SimulatedProcess, run: Callable[[], object], *, task: str = ""
    ) -> None:
        """Start a thread of ``process``."""

        def guarded() -> None:
            with suppress(Killed):
                run()

        thread = Thread(guarded, parent=self._main)
        thread.process, thread.task = process, task
        process.threads = [each for each in process.threads if not each.dead]
        process.threads.append(thread)
        self.at(self.now, thread.switch, process)

    def at(
        self, time: float, run: Callable[[], object], process: SimulatedProcess | None = None
    ) -> None:
        """Call ``run`` at ``time``, or when ``process`` continues; never if it is dead by then."""
        heapq.heappush(self._events, (time, next(self._sequence), run, process))

    def sleep(self, seconds: float) -> None:
        """Let the others run for ``seconds``. Called by a thread of a process."""
        thread = getcurrent()
        process = thread.process
        if not process.alive:
            raise Killed
        time = self.now + max(0.0, seconds)
        if self._is_next(time, process):
            self.now = time
            return
        self.at(time, thread.switch, process)
        self._main.switch()

    def _is_next(self, time: float, process: SimulatedProcess) -> bool:
        """Return whether nothing happens before ``process`` continues at ``time``."""
        return (
            (not self._events or time < self._events[0][0])
            and time <= self._until
            and process.stopped_until <= time
            and not self.stopped
        )

    def kill(self, process: SimulatedProcess) -> None:
        """End another process without letting it do anything else."""
        process.alive = False
        threads, process.threads = process.threads, []
        for thread in threads:
            if not thread.dead and thread:
                thread.throw(Killed)

    def run(self, until: float) -> None:
        """Run everything that happens up to ``until``."""
        self._until = until
        while self._events and self._events[0][0] <= until and not self.stopped:
            time, _, run, process = heapq.heappop(self._events)
            if process is not None:
                if not process.alive:
                    continue
                if process.stopped_until > time:
                    self.at(process.stopped_until, run, process)
                    continue
            self.now = max(self.now, time)
            run()
        self.now = max(self.now, until)


class SimulatedCondition:
    """In place of ``threading.Condition``. Looks at its predicate again and again."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def __enter__(self) -> None:
        """Do nothing: no other thread runs."""

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def notify_all(self) -> None:
        """Do nothing: the others look for themselves."""

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        deadline = self._scheduler.now + timeout
        while not predicate():
            if self._scheduler.now >= deadline:
                return False
            self._scheduler.sleep(0.05)
        return True


class ProcessClock:
    """The clock of one process, as the module ``time`` shows it to its code."""

    def __init__(self, scheduler: Scheduler, *, skew: float = 0.0) -> None:
        """``skew``: seconds by which this machine's clock is wrong."""
        self._scheduler = scheduler
        self._skew = skew

    def time(self) -> float:
        return EPOCH + self._scheduler.now + self._skew

    def monotonic(self) -> float:
        return self._scheduler.now

    def sleep(self, seconds: float, /) -> None:
        self._scheduler.sleep(seconds)
