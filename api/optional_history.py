"""The history as lists use it: without it they are shorter, and not an error."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import structlog

from common.errors import BackendUnavailable

if TYPE_CHECKING:
    from common.history import HistoryReader

#: Whether the history was read: ``off`` if there is none.
HistoryState = Literal["ok", "off", "unavailable"]

#: Seconds for which the history is not read after it was unavailable.
RETRY_INTERVAL: Final = 5.0

Row = TypeVar("Row")

log = structlog.get_logger(__name__)


class OptionalHistory:
    """Reads lists from the history unless it is disabled, unavailable, or just was."""

    def __init__(
        self, reader: HistoryReader | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``reader``: None if the history is disabled."""
        self._reader = reader
        self._clock = clock
        self._unavailable_until = 0.0

    def read(self, query: Callable[[HistoryReader], list[Row]]) -> tuple[list[Row], HistoryState]:
        """Return what ``query`` finds; nothing if the history cannot be read."""
        if self._reader is None:
            return [], "off"
        if self._clock() < self._unavailable_until:
            return [], "unavailable"
        try:
            return query(self._reader), "ok"
        except BackendUnavailable as error:
            log.warning("history is unavailable, lists may be incomplete", reason=error.message)
            self._unavailable_until = self._clock() + RETRY_INTERVAL
            return [], "unavailable"
