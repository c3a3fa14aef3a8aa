"""Limits the time that each request waits for the job store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from common.job_store import time_budget

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class LimitedStoreTime:
    """WSGI middleware around the whole application."""

    def __init__(self, application: WSGIApplication, seconds: float) -> None:
        """``seconds``: in total, for all calls to the job store that one request makes."""
        self._application = application
        self._seconds = seconds

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        budget = time_budget.begin(self._seconds)
        try:
            return self._application(environ, start_response)
        finally:
            budget.end()
