"""What happened in a run, for people who look for the cause of a violation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.scheduler import Scheduler


class Trace:
    """The events of one run, in their order."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._events: list[tuple[float, str, str]] = []

    def add(self, actor: str, event: str) -> None:
        self._events.append((self._scheduler.now, actor, event))

    def lines(self) -> list[str]:
        return [f"{time:10.4f} s  {actor:<12} {event}" for time, actor, event in self._events]
