"""Loads the Lua scripts: one file per verb, the key patterns and the message filled in.

A script is called with the key that routes it to its partition and two maps of strings: ``args``
by name, and ``fields`` to write into the job's hash. It answers ``{code, value…}``; the codes that
mean a refusal are mapped to errors here and nowhere else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from common.errors import (
    IdempotencyKeyReused,
    JobConflict,
    JobNotFound,
    LeaseLost,
    LonghaulError,
    RateLimited,
    TooManyActiveJobs,
)
from common.job_store.cluster import pipe_at
from common.job_store.keys import PATTERNS
from common.jobs.model import Messages
from common.observability import tracing
from common.observability.metrics import STORE_SECONDS

if TYPE_CHECKING:
    from prometheus_client import Histogram
    from redis import Redis
    from redis.client import Pipeline
    from redis.commands.core import Script

#: Runs the script with this digest on the server that holds ``key``: key, digest, arguments. None
#: when the script has certainly not run and the ordinary way has to be gone. Raises ``RedisError``.
Shortcut = Callable[[str, str, list[str]], "list[Any] | None"]

REFUSALS: Final[dict[str, type[LonghaulError]]] = {
    "NOT_FOUND": JobNotFound,
    "CONFLICT": JobConflict,
    "LOST": LeaseLost,
    "KEY_REUSED": IdempotencyKeyReused,
    "TOO_MANY": TooManyActiveJobs,
    "TOO_OFTEN": RateLimited,
}

_KEY = re.compile(r"\bkey\.(\w+)\(([^()]*)\)")
_INCLUDE = re.compile(r"^-- @include (\w+)$", re.MULTILINE)


class Scripts:
    """The store's verbs on one connection pool, or by a shorter way where there is one."""

    def __init__(
        self,
        client: Redis,
        shortcut: Shortcut | None = None,
        *,
        messages: Messages | None = None,
    ) -> None:
        """``messages``: where the scripts can reach the broker."""
        self._client = client
        self._shortcut = shortcut
        self._messages = messages
        self._loaded: dict[str, Script] = {}

    def call(
        self,
        verb: str,
        key: str,
        args: Mapping[str, object],
        fields: Mapping[str, object] | None = None,
    ) -> list[Any]:
        """Run a verb now: ``[code, value…]``. Raises what a refusal's code stands for."""
        return accept(self.run(verb, key, args, fields))

    def run(
        self,
        verb: str,
        key: str,
        args: Mapping[str, object],
        fields: Mapping[str, object] | None = None,
    ) -> list[Any]:
        """As ``call``, but a refusal comes back like any answer; give it to ``accept``."""
        began = time.perf_counter()
        with tracing.span(f"store {verb}", kind="client"):
            answer = self._send(self._script(verb), key, _flatten(args, fields or {}))
        _series(verb).observe(time.perf_counter() - began)
        return answer

    def _send(self, script: Script, key: str, flat: list[str]) -> list[Any]:
        answer = self._shortcut(key, script.sha, flat) if self._shortcut else None
        # It may have refused because the script has to be loaded, or lies on another server by now.
        return script(keys=[key], args=flat) if answer is None else answer

    def queue(self, pipe: Pipeline, verb: str, key: str, args: Mapping[str, object]) -> None:
        """Put a verb into a pipeline; give its result to ``accept``."""
        self._script(verb)(keys=[key], args=_flatten(args, {}), client=pipe_at(pipe, key))

    def _script(self, verb: str) -> Script:
        if verb not in self._loaded:
            self._loaded[verb] = self._client.register_script(source(verb, self._messages))
        return self._loaded[verb]


@cache
def _series(verb: str) -> Histogram:
    return STORE_SECONDS.labels(verb)


def accept(result: list[Any]) -> list[Any]:
    """The result of a verb, unless its code is a refusal: then the error it stands for."""
    refusal = REFUSALS.get(result[0])
    if refusal is not None:
        raise refusal
    return result


@cache
def source(verb: str, messages: Messages | None) -> str:
    """The whole text of a verb's script: the message, includes, the verb itself, keys spelt out."""
    folder = files("common.job_store") / "lua"
    included: list[str] = []

    def expand(text: str) -> str:
        for name in _INCLUDE.findall(text):
            if name not in included:
                expand((folder / "include" / f"{name}.lua").read_text())
                included.append(name)
        return text

    body = expand((folder / f"{verb}.lua").read_text())
    parts = [(folder / "include" / f"{name}.lua").read_text() for name in included]
    text = "\n".join([*parts, body])
    return f"{_message_function(messages)}\n{_KEY.sub(_key, text)}"


def _key(call: re.Match[str]) -> str:
    """The expression for ``key.name(value, …)``, so that no script spells out a key.

    Not functions: a script makes its functions anew each time that it runs.
    """
    values = iter(["tag", *filter(None, map(str.strip, call[2].split(",")))])
    # Every other part is a hole; the tag is the first in each pattern.
    parts = re.split(r"{(\w+)}", PATTERNS[call[1]])
    texts = [next(values) if number % 2 else f"'{part}'" for number, part in enumerate(parts)]
    joined = " .. ".join(text for text in texts if text != "''")
    return f"({joined})"


def _message_function(messages: Messages | None) -> str:
    """``queue`` and ``message``: constants of the script, so that no call has to carry them."""
    if messages is None:
        return "local queue, message"
    marks = ("JOB", "LANE", "SENT")
    parts = re.split(f"@({'|'.join(marks)})@", messages.template)
    # Every other one is a mark, which is the name of its value.
    joined = " .. ".join(
        part if number % 2 else f"[==[{part}]==]" for number, part in enumerate(parts)
    )
    return (
        f"local queue = '{messages.queue}'\n"
        f"local function message({', '.join(marks)}) return {joined} end"
    )


def _flatten(args: Mapping[str, object], fields: Mapping[str, object]) -> list[str]:
    """``[number of args, name, value, …, field, value, …]``.

    An argument that is None is left out, a field that is None becomes the empty string.
    """
    given = [pair for pair in args.items() if pair[1] is not None]
    # By far the most are strings already.
    return [str(len(given))] + [
        text if type(text) is str else "" if text is None else str(text)
        for pair in (*given, *fields.items())
        for text in pair
    ]
