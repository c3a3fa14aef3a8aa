"""A fake clock and a fake API for the client's tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from longhaul_client import Longhaul

JOB_ID = "3f0b7a52-8a44-4d0c-9a55-0d2f6f1f7a10"

FakeResponse = httpx.Response | Exception


class FakeClock:
    """A clock that sleeping advances immediately."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds


class FakeApi:
    """An API that returns the given responses in order and records the requests."""

    def __init__(self, *responses: FakeResponse) -> None:
        self.requests: list[httpx.Request] = []
        self.clock = FakeClock()
        self._responses = iter(responses)
        self.client = Longhaul(
            "http://api.test", clock=self.clock, transport=httpx.MockTransport(self._handle)
        )

    @property
    def calls(self) -> list[str]:
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        unexpected = AssertionError(f"unexpected: {request.method} {request.url}")
        response = next(self._responses, unexpected)
        if isinstance(response, Exception):
            raise response
        return response


def job_json(status: str = "processing", version: int = 1, **members: Any) -> dict[str, Any]:
    return {"jobId": JOB_ID, "status": status, "version": version, "progress": 0, **members}


def job(status: str = "processing", version: int = 1, **members: Any) -> httpx.Response:
    return httpx.Response(200, json=job_json(status, version, **members))


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"title": "No", "status": status, "code": code, "detail": f"because {code}"}
    return httpx.Response(
        status, json=body, headers={"Content-Type": "application/problem+json", **headers}
    )


class Stream(httpx.SyncByteStream):
    """A body in chunks. An exception among the chunks is raised."""

    def __init__(self, *chunks: bytes | BaseException) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk


def stream(*chunks: bytes | BaseException) -> httpx.Response:
    return httpx.Response(
        200, headers={"Content-Type": "text/event-stream"}, stream=Stream(*chunks)
    )
