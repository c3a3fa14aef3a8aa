"""What a client is told: a job's snapshot, made into bytes once per form and not per client."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import Any

import orjson

from api.live import websocket, wire
from common.jobs.model import Job
from common.presenter import iso

#: A job as its client sees it, made anew each time.
Present = Callable[[Job], dict[str, Any]]


class Form(Enum):
    """How a client wants its events."""

    NAMED = "named"
    UNNAMED = "unnamed"
    WEBSOCKET = "websocket"


class Event:
    """One snapshot under one name. ``bytes_for`` makes its JSON when the first client needs it."""

    __slots__ = ("_data", "_made", "_present", "job", "name")

    def __init__(self, job: Job, name: str, present: Present) -> None:
        self.job = job
        self.name = name
        self._present = present
        self._data: dict[str, Any] | None = None
        self._made: dict[Form, bytes] = {}

    @property
    def version(self) -> int:
        return self.job.version

    def bytes_for(self, form: Form) -> bytes:
        made = self._made.get(form)
        if made is None:
            made = self._made[form] = self._make(form)
        return made

    def _make(self, form: Form) -> bytes:
        if self._data is None:
            self._data = self._present(self.job)
            self._data["timestamp"] = iso(time.time_ns() // 1_000_000)
        if form is Form.WEBSOCKET:
            return websocket.text(orjson.dumps({"type": self.name, **self._data}))
        name = self.name if form is Form.NAMED else None
        return wire.message(orjson.dumps(self._data), event=name, version=self.job.version)
