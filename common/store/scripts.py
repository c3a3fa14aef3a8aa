"""Loads the Lua scripts: one file per verb, with a shared prelude made from the key patterns.

A script is called with the key that routes it to its partition and two maps of strings: ``args``
by name, and ``fields`` to write into the job's hash. It answers ``{code, value…}``; the codes that
mean a refusal are mapped to errors here and nowhere else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from common.errors import (
    IdempotencyKeyReused,
    JobConflict,
    JobNotFound,
    LeaseLost,
    LonghaulError,
    TooManyActiveJobs,
)
from common.observability import tracing
from common.observability.metrics import STORE_SECONDS
from common.store.cluster import pipe_at
from common.store.keys import PATTERNS

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline
    from redis.commands.core import Script

REFUSALS: Final[dict[str, type[LonghaulError]]] = {
    "NOT_FOUND": JobNotFound,
    "CONFLICT": JobConflict,
    "LOST": LeaseLost,
    "KEY_REUSED": IdempotencyKeyReused,
    "TOO_MANY": TooManyActiveJobs,
}

_INCLUDE = re.compile(r"^-- @include (\w+)$", re.MULTILINE)


class Scripts:
    """The store's verbs on one connection pool."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._loaded: dict[str, Script] = {}

    def call(
        self,
        verb: str,
        key: str,
        args: Mapping[str, object],
        fields: Mapping[str, object] | None = None,
    ) -> list[Any]:
        """Run a verb now: ``[code, value…]``. Raises what a refusal's code stands for."""
        began = time.perf_counter()
        with tracing.span(f"store {verb}", kind="client"):
            answer = self._script(verb)(keys=[key], args=_flatten(args, fields or {}))
        STORE_SECONDS.labels(verb).observe(time.perf_counter() - began)
        return accept(answer)

    def queue(self, pipe: Pipeline, verb: str, key: str, args: Mapping[str, object]) -> None:
        """Put a verb into a pipeline; give its result to ``accept``."""
        self._script(verb)(keys=[key], args=_flatten(args, {}), client=pipe_at(pipe, key))

    def _script(self, verb: str) -> Script:
        if verb not in self._loaded:
            self._loaded[verb] = self._client.register_script(source(verb))
        return self._loaded[verb]


def accept(result: list[Any]) -> list[Any]:
    """The result of a verb, unless its code is a refusal: then the error it stands for."""
    refusal = REFUSALS.get(result[0])
    if refusal is not None:
        raise refusal
    return result


@cache
def source(verb: str) -> str:
    """The whole text of a verb's script: prelude, includes, the verb itself."""
    folder = files("common.store") / "lua"
    included: list[str] = []

    def expand(text: str) -> str:
        for name in _INCLUDE.findall(text):
            if name not in included:
                expand((folder / "include" / f"{name}.lua").read_text())
                included.append(name)
        return text

    body = expand((folder / f"{verb}.lua").read_text())
    parts = [(folder / "include" / f"{name}.lua").read_text() for name in included]
    return "\n".join([_key_functions(), *parts, body])


def _key_functions() -> str:
    """A Lua table ``key`` with one function per pattern, so that no script spells out a key."""
    lines = ["local tag = string.match(KEYS[1], '{p%d%d}')", "local key = {}"]
    for name, pattern in PATTERNS.items():
        holes = re.findall(r"{(\w+)}", pattern)
        arguments = ", ".join(hole for hole in holes if hole != "tag")
        parts = [part for part in re.split(r"({\w+})", pattern) if part]
        joined = " .. ".join(part[1:-1] if part[0] == "{" else f"'{part}'" for part in parts)
        lines.append(f"function key.{name}({arguments}) return {joined} end")
    return "\n".join(lines)


def _flatten(args: Mapping[str, object], fields: Mapping[str, object]) -> list[str]:
    """``[number of args, name, value, …, field, value, …]``; None becomes the empty string."""
    flat = [str(len(args))]
    for mapping in (args, fields):
        for name, value in mapping.items():
            flat += [name, "" if value is None else str(value)]
    return flat
