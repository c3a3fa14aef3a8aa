"""The thread that looks for lost jobs and due retries, in every worker process."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from common.queue import Dispatcher
    from common.store.presence import Presence
    from common.store.sweeper import Sweeper

log = structlog.get_logger(__name__)


class SweepThread:
    """Sweeps about every ``interval`` seconds, and shows that this worker lives."""

    def __init__(
        self, sweeper: Sweeper, dispatcher: Dispatcher, presence: Presence, *, interval: float
    ) -> None:
        self._sweeper = sweeper
        self._dispatcher = dispatcher
        self._presence = presence
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sweep_for_ever, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def _sweep_for_ever(self) -> None:
        # Spread out, so that many workers do not all sweep in the same instant.
        while not self._ended.wait(self._interval * random.uniform(0.8, 1.2)):  # noqa: S311
            try:
                self._presence.beat()
                swept = self._sweeper.sweep(self._dispatcher.waiting())
            except RedisError as error:
                log.warning("sweep failed", error=str(error))
            else:
                if swept.recovered or swept.failed or swept.resent:
                    log.warning("jobs recovered", **vars(swept))
