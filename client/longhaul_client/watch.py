"""Following a job: live by server-sent events, by long poll or polling where those do not pass."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import NoReturn

import httpx

from .connection import Connection, json_body, raise_for_refusal, retry_after
from .errors import ApiProblem, Unreachable
from .job import Job
from .sse import EventParser
from .timing import backoff, jittered

#: Seconds without a first event after which a stream counts as held up by a proxy.
FIRST_EVENT = 3.0
#: Seconds without a byte after which a stream counts as dead: more than two heartbeats of 15 s.
SILENCE = 40.0
#: Seconds that the server holds a long poll.
HOLD = 25
#: Seconds on a lesser transport after which the best one gets another chance.
PROMOTION = 30.0
#: Least seconds between two requests for one job.
SPACING = 1.0


class Transport(Enum):
    """Ways to follow a job, the best one first."""

    SSE = "sse"
    LONG_POLL = "long poll"
    POLL = "poll"


class _Broken(Exception):
    """The exchange ended before the job did."""


class Watch:
    """Iterate over it: every newer snapshot of the job, the last one finished.

    ``ApiProblem`` when the API refuses (404, 401, 403); ``Unreachable`` after ``patience`` seconds
    without any answer. ``transport`` tells what is in use.
    """

    def __init__(
        self,
        connection: Connection,
        job_id: str,
        *,
        since: int = 0,
        transports: Sequence[Transport] = tuple(Transport),
        patience: float = 120.0,
    ) -> None:
        self._connection = connection
        self._clock = connection.clock
        self._path = f"/v1/download/status/{job_id}"
        self._stream_path = f"/v1/download/subscribe/{job_id}"
        self._transports = transports
        self._patience = patience
        self._level = 0
        self._pause = 2.0
        self.version = since

    @property
    def transport(self) -> Transport:
        return self._transports[self._level]

    def __iter__(self) -> Iterator[Job]:
        heard = demoted = self._clock.now()
        failures = 0
        while True:
            began = self._clock.now()
            failures += 1
            try:
                for job in self._exchange():
                    failures, heard = 0, self._clock.now()
                    if job and job.version > self.version:
                        self.version = job.version
                        yield job
                    if job and job.finished:
                        return
            except (_Broken, Unreachable, httpx.TransportError) as error:
                if self._clock.now() - heard > self._patience:
                    raise Unreachable(f"no answer for {self._patience:.0f} s: {error}") from error
            if failures:
                self._level = min(self._level + 1, len(self._transports) - 1)
                demoted = self._clock.now()
            elif self._clock.now() - demoted > PROMOTION:
                self._level = 0
            self._rest(self._clock.now() - began, failures)

    def _rest(self, spent: float, failures: int) -> None:
        """Pause before the next exchange: none before a lesser transport is tried at once."""
        if failures >= len(self._transports):
            self._clock.sleep(max(SPACING, backoff(failures)))
        elif failures == 0 and self.transport is Transport.LONG_POLL:
            self._clock.sleep(max(0.0, SPACING - spent))
        elif failures == 0:
            self._clock.sleep(jittered(self._pause))

    def _exchange(self) -> Iterator[Job | None]:
        """One request: the snapshots that it brings, None for a sign of life without news."""
        match self.transport:
            case Transport.SSE:
                return self._events()
            case Transport.LONG_POLL:
                return self._status(hold=HOLD)
            case Transport.POLL:
                return self._status(hold=0)

    def _status(self, *, hold: int) -> Iterator[Job | None]:
        params: dict[str, str | int] = {"wait": hold, "since": self.version} if hold else {}
        try:
            response = self._connection.once("GET", self._path, params=params, extra_time=hold)
        except ApiProblem as problem:
            self._refused(problem)
        self._pause = max(SPACING, retry_after(response) or 0.0)
        yield _job(json_body(response))

    def _events(self) -> Iterator[Job | None]:
        parser = EventParser()
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        if self.version:
            headers["Last-Event-ID"] = str(self.version)
        timeouts = dict.fromkeys(("connect", "write", "pool", "read"), FIRST_EVENT)
        with self._connection.stream(
            self._stream_path, headers=headers, timeouts=timeouts
        ) as answer:
            self._require_events(answer)
            timeouts["read"] = SILENCE
            with _cut_after(FIRST_EVENT, answer) as first:
                for chunk in answer.iter_bytes():
                    for data in _parsed(parser, chunk):
                        first.cancel()
                        yield data
                    self._pause = (parser.retry or 2000) / 1000
        raise _Broken("the event stream ended before the job")

    def _require_events(self, response: httpx.Response) -> None:
        if response.status_code >= 400 and len(self._transports) == 1:
            response.read()
            try:
                raise_for_refusal(response)
            except ApiProblem as problem:
                self._refused(problem)
        # Else the next transport hears what the API thinks of the job itself.
        if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
            raise _Broken(f"HTTP {response.status_code} instead of an event stream")

    def _refused(self, problem: ApiProblem) -> NoReturn:
        """Come back later where the API is only busy; any other refusal is final."""
        if problem.status != httpx.codes.TOO_MANY_REQUESTS and problem.status < 500:
            raise problem
        self._clock.sleep(min(problem.retry_after or SPACING, self._patience))
        raise _Broken(str(problem))


def _parsed(parser: EventParser, chunk: bytes) -> Iterator[Job | None]:
    try:
        for event in parser.feed(chunk):
            body = json.loads(event.data)
            yield _job(body) if "jobId" in body else None
    except ValueError as error:
        raise _Broken(f"an event that cannot be read: {error}") from error


def _job(body: dict[str, object]) -> Job:
    try:
        return Job.from_json(body)
    except KeyError as error:
        raise _Broken(f"an answer without {error}") from error


@contextmanager
def _cut_after(seconds: float, response: httpx.Response) -> Iterator[threading.Timer]:
    """Cut the connection unless the timer is cancelled in time.

    A read timeout cannot do this: it is fixed for the whole body, and heartbeats are far apart.
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
