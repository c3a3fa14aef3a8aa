"""Which loops of this process still run: Celery's consumer and the threads beside it.

A process can look alive from outside while one of its loops hangs. Each loop reports its rounds
here; the worker registry carries the result to ``worker.healthcheck``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from celery import bootsteps

if TYPE_CHECKING:
    from celery import Celery

#: Seconds between two reports of Celery's consumer, and until it counts as stuck.
_CONSUMER_INTERVAL: Final = 5.0
_CONSUMER_LIMIT: Final = 60.0


class Liveness:
    """The time of the last round of each loop. Thread safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._deadlines: dict[str, float] = {}

    def report(self, loop: str, *, within: float) -> None:
        """Note that a loop has started a round; the next one is due in ``within`` seconds."""
        with self._lock:
            self._deadlines[loop] = self._clock() + within

    def reporter(self, loop: str, *, within: float) -> Callable[[], None]:
        """Return a function that reports a round of a loop."""
        return partial(self.report, loop, within=within)

    def pause(self, loop: str) -> None:
        """Expect no report of a loop until its next one."""
        with self._lock:
            self._deadlines.pop(loop, None)

    def stuck(self) -> tuple[str, ...]:
        """Return the names of the loops whose report is overdue."""
        now = self._clock()
        with self._lock:
            return tuple(sorted(name for name, end in self._deadlines.items() if now > end))

    def watch_consumer(self, app: Celery) -> None:
        """Make Celery's consumer report while it is connected to the broker."""
        liveness = self

        class ConsumerLiveness(bootsteps.StartStopStep):  # type: ignore[misc]
            """Reports from the timers of the consumer's own loop."""

            requires = ("celery.worker.consumer.tasks:Tasks",)

            def start(self, consumer: Any) -> None:
                report = liveness.reporter("consumer", within=_CONSUMER_LIMIT)
                report()
                self._timer = consumer.timer.call_repeatedly(_CONSUMER_INTERVAL, report)

            def stop(self, consumer: Any) -> None:  # noqa: ARG002
                # Waiting for an unavailable broker is no fault of the consumer.
                self._timer.cancel()
                liveness.pause("consumer")

        app.steps["consumer"].add(ConsumerLiveness)
