"""Follows a job by server-sent events, and by long polls or polls where events do not work."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import NoReturn
from urllib.parse import quote

import httpx

from .connection import Connection, json_body, raise_for_problem, retry_after
from .errors import ApiProblem, Unreachable
from .job import Job
from .sse import EventParser
from .timing import backoff, jittered

#: Seconds without a first event after which a proxy is assumed to buffer the stream.
FIRST_EVENT_TIMEOUT = 3.0
#: Seconds without a byte after which a stream is considered dead: over two heartbeats of 15 s.
SILENCE_TIMEOUT = 40.0
#: Seconds that the API holds a long poll.
LONG_POLL_WAIT = 25
#: Seconds on a fallback transport after which the best one is tried again.
PROMOTE_AFTER = 30.0
#: Minimum seconds between two requests for one job.
MIN_INTERVAL = 1.0


class WatchTransport(Enum):
    """The ways to follow a job, best first."""

    SSE = "sse"
    LONG_POLL = "long poll"
    POLL = "poll"


class _StreamBroken(Exception):
    """The response ended before the job finished."""


class Watch:
    """An iterable of a job's snapshots, each newer than the one before, the last one finished.

    The finished job is always yielded. It may have an older version, if the job store lost its
    latest writes.

    Iterating raises ``ApiProblem`` when the API rejects the request (401, 403, 404), and
    ``Unreachable`` after ``timeout`` seconds without a response.
    """

    def __init__(
        self,
        connection: Connection,
        job_id: str,
        *,
        since: int = 0,
        transports: Sequence[WatchTransport] = tuple(WatchTransport),
        timeout: float = 120.0,
    ) -> None:
        self._connection = connection
        self._clock = connection.clock
        self._path = f"/v1/download/status/{quote(job_id, safe='')}"
        self._stream_path = f"/v1/download/subscribe/{quote(job_id, safe='')}"
        self._transports = transports
        self._timeout = timeout
        self._level = 0
        self._poll_interval = 2.0
        self.version = since

    @property
    def transport(self) -> WatchTransport:
        """The transport in use."""
        return self._transports[self._level]

    def __iter__(self) -> Iterator[Job]:
        last_response = demoted = self._clock.now()
        failures = 0
        while True:
            started = self._clock.now()
            failures += 1
            try:
                for job in self._request():
                    failures, last_response = 0, self._clock.now()
                    if job and (job.finished or job.version > self.version):
                        self.version = job.version
                        yield job
                    if job and job.finished:
                        return
            except (_StreamBroken, Unreachable, httpx.RequestError) as error:
                if self._clock.now() - last_response > self._timeout:
                    raise Unreachable(f"no response for {self._timeout:.0f} s: {error}") from error
            if failures:
                self._level = min(self._level + 1, len(self._transports) - 1)
                demoted = self._clock.now()
            elif self._clock.now() - demoted > PROMOTE_AFTER:
                self._level = 0
            self._pause_before_next(self._clock.now() - started, failures)

    def _pause_before_next(self, elapsed: float, failures: int) -> None:
        """Pause before the next request. A fallback transport is tried without a pause."""
        if failures >= len(self._transports):
            self._clock.sleep(max(MIN_INTERVAL, backoff(failures)))
        elif failures == 0 and self.transport is WatchTransport.LONG_POLL:
            self._clock.sleep(max(0.0, MIN_INTERVAL - elapsed))
        elif failures == 0:
            self._clock.sleep(jittered(self._poll_interval))

    def _request(self) -> Iterator[Job | None]:
        """Send one request. Yield its snapshots, and None for a heartbeat."""
        match self.transport:
            case WatchTransport.SSE:
                return self._events()
            case WatchTransport.LONG_POLL:
                return self._status(wait=LONG_POLL_WAIT)
            case WatchTransport.POLL:
                return self._status(wait=0)

    def _status(self, *, wait: int) -> Iterator[Job | None]:
        params: dict[str, str | int] = {"wait": wait, "since": self.version} if wait else {}
        try:
            response = self._connection.once("GET", self._path, params=params, extra_time=wait)
        except ApiProblem as problem:
            self._raise_unless_temporary(problem)
        self._poll_interval = max(MIN_INTERVAL, retry_after(response) or 0.0)
        yield _job(json_body(response))

    def _events(self) -> Iterator[Job | None]:
        parser = EventParser()
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        if self.version:
            headers["Last-Event-ID"] = str(self.version)
        timeouts = dict.fromkeys(("connect", "write", "pool", "read"), FIRST_EVENT_TIMEOUT)
        with self._connection.stream(
            self._stream_path, headers=headers, timeouts=timeouts
        ) as response:
            self._require_events(response)
            timeouts["read"] = SILENCE_TIMEOUT
            with _cut_after(FIRST_EVENT_TIMEOUT, response) as first:
                for chunk in response.iter_bytes():
                    for data in _parsed(parser, chunk):
                        first.cancel()
                        yield data
                    self._poll_interval = (parser.retry or 2000) / 1000
        raise _StreamBroken("the event stream ended before the job")

    def _require_events(self, response: httpx.Response) -> None:
        if response.status_code >= 400 and len(self._transports) == 1:
            response.read()
            try:
                raise_for_problem(response)
            except ApiProblem as problem:
                self._raise_unless_temporary(problem)
        # With another transport left, its response shows whether the API rejects the job itself.
        if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
            raise _StreamBroken(f"HTTP {response.status_code} instead of an event stream")

    def _raise_unless_temporary(self, problem: ApiProblem) -> NoReturn:
        """Wait if the API is only busy, then raise ``_StreamBroken``; other problems are final."""
        if problem.status != httpx.codes.TOO_MANY_REQUESTS and problem.status < 500:
            raise problem
        self._clock.sleep(min(problem.retry_after or MIN_INTERVAL, self._timeout))
        raise _StreamBroken(str(problem))


def _parsed(parser: EventParser, chunk: bytes) -> Iterator[Job | None]:
    try:
        for event in parser.feed(chunk):
            body = json.loads(event.data)
            yield _job(body) if "jobId" in body else None
    except ValueError as error:
        raise _StreamBroken(f"an event is invalid: {error}") from error


def _job(body: dict[str, object]) -> Job:
    try:
        return Job.from_json(body)
    except KeyError as error:
        raise _StreamBroken(f"a response lacks {error}") from error


@contextmanager
def _cut_after(seconds: float, response: httpx.Response) -> Iterator[threading.Timer]:
    """Close the connection unless the timer is cancelled in time.

    A read timeout cannot do this: it is fixed for the whole body, and heartbeats are 15 s apart.
    """

    def cut() -> None:
        if stream := response.extensions.get("network_stream"):
            stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield timer
    finally:
        timer.cancel()
