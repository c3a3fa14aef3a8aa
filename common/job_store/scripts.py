"""Loads the Lua scripts: one file per verb, with its includes and the key patterns filled in.

A script gets the key that routes it to its partition and two maps of strings: ``args`` by name, and
``fields`` to write into the job's hash. Only create.lua, whose speed determines how many
jobs can be accepted per second, gets its arguments by position. A script returns
``{code, value…}``. The codes that mean an error are mapped to exceptions here and nowhere else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import NoScriptError, RedisError

from common.errors import (
    IdempotencyKeyReused,
    JobConflict,
    JobNotFound,
    LeaseLost,
    LinkGone,
    LinkNotFound,
    LonghaulError,
    QuotaExceeded,
    RateLimited,
    TooManyActiveJobs,
    TooManyLinks,
)
from common.job_store.cluster import pipeline_for, run_script
from common.job_store.keys import PATTERNS, all_tags
from common.jobs.model import WakeUpTemplate
from common.observability import tracing
from common.observability.metrics import STORE_SECONDS

if TYPE_CHECKING:
    from prometheus_client import Histogram
    from redis import Redis
    from redis.commands.core import Script

#: Runs the script with a SHA-1 digest on the server that holds a key: key, digest, arguments.
#: Returns None when the script certainly did not run and has to be sent the ordinary way. Raises
#: ``RedisError``.
ScriptRunner = Callable[[str, str, list[str]], "list[Any] | None"]

ERRORS_BY_CODE: Final[dict[str, type[LonghaulError]]] = {
    "NOT_FOUND": JobNotFound,
    "CONFLICT": JobConflict,
    "LOST": LeaseLost,
    "KEY_REUSED": IdempotencyKeyReused,
    "TOO_MANY_ACTIVE_JOBS": TooManyActiveJobs,
    "RATE_LIMIT_EXCEEDED": RateLimited,
    "QUOTA_EXCEEDED": QuotaExceeded,
    "LINK_NOT_FOUND": LinkNotFound,
    "LINK_GONE": LinkGone,
    "TOO_MANY_LINKS": TooManyLinks,
}

_KEY = re.compile(r"\bkey\.(\w+)\(([^()]*)\)")
_INCLUDE = re.compile(r"^-- @include (\w+)$", re.MULTILINE)


class Scripts:
    """The Lua scripts, run through a client or, where there is one, a faster ``ScriptRunner``."""

    def __init__(
        self,
        client: Redis,
        run_script: ScriptRunner | None = None,
        *,
        template: WakeUpTemplate | None = None,
    ) -> None:
        """``template``: given when the scripts can push wake-ups to the broker themselves."""
        self._client = client
        self._run_script = run_script
        self._template = template
        self._loaded: dict[str, Script] = {}

    def call(
        self,
        verb: str,
        key: str,
        args: Mapping[str, object],
        fields: Mapping[str, object] | None = None,
    ) -> list[Any]:
        """Run a script and return ``[code, value…]``. Raise the error that a code stands for."""
        return raise_for_code(self.run(verb, key, args, fields))

    def run(
        self,
        verb: str,
        key: str,
        args: Mapping[str, object],
        fields: Mapping[str, object] | None = None,
    ) -> list[Any]:
        """Run a script and return its result unchecked; pass it to ``raise_for_code``."""
        return self._run(verb, key, _flatten(args, fields or {}))

    def run_positional(self, verb: str, key: str, arguments: Iterable[object]) -> list[Any]:
        """Run a script that gets its arguments by position; return its result unchecked."""
        return self._run(verb, key, _texts(arguments))

    def _run(self, verb: str, key: str, flat: list[str]) -> list[Any]:
        began = time.perf_counter()
        with tracing.span(f"store {verb}", kind="client"):
            result = self._execute(self._script(verb), key, flat)
        _duration_metric(verb).observe(time.perf_counter() - began)
        return result

    def _execute(self, script: Script, key: str, flat: list[str]) -> list[Any]:
        result = self._run_script(key, script.sha, flat) if self._run_script else None
        # None: the script has to be loaded first, or its key has moved to another server.
        return run_script(self._client, script, [key], flat) if result is None else result

    def run_many(
        self,
        verb: str,
        calls: Iterable[tuple[str, Mapping[str, object]]],
        *,
        raise_on_error: bool = True,
    ) -> list[Any]:
        """Run a script with each of several keys and their ``args``, in one round trip.

        A second one loads the script where it is missing. Returns the results unchecked; without
        ``raise_on_error`` they include errors. Raises ``RedisError`` when the store is unavailable.
        """
        script = self._script(verb)
        flat = [(key, _flatten(args, {})) for key, args in calls]
        results = self._run_together(script, flat)
        missing = [i for i, result in enumerate(results) if isinstance(result, NoScriptError)]
        if missing:
            again = self._run_together(script, [flat[i] for i in missing], load=True)
            for i, result in zip(missing, again, strict=True):
                results[i] = result
        error = next((each for each in results if isinstance(each, RedisError)), None)
        if error is not None and raise_on_error:
            raise error
        return results

    def _run_together(
        self, script: Script, calls: Iterable[tuple[str, list[str]]], *, load: bool = False
    ) -> list[Any]:
        # Not by calling the script: a pipeline would then ask each time whether the server has it.
        with self._client.pipeline(transaction=False) as pipe:
            for key, flat in calls:
                if load:
                    pipeline_for(pipe, key).script_load(script.script)
                pipeline_for(pipe, key).evalsha(script.sha, 1, key, *flat)
            results = pipe.execute(raise_on_error=False)
        return results[1::2] if load else results

    def run_in_partitions(
        self, verb: str, key_of: Callable[[str], str], args: Mapping[str, object]
    ) -> dict[str, Any]:
        """Run a script in every partition, in one round trip; return results by partition.

        The error of one partition is its result. ``key_of`` returns a partition's key. Raises
        ``RedisError`` when the store is unavailable.
        """
        tags = all_tags()
        results = self.run_many(verb, [(key_of(tag), args) for tag in tags], raise_on_error=False)
        return dict(zip(tags, results, strict=True))

    def _script(self, verb: str) -> Script:
        if verb not in self._loaded:
            self._loaded[verb] = self._client.register_script(source(verb, self._template))
        return self._loaded[verb]


@cache
def _duration_metric(verb: str) -> Histogram:
    return STORE_SECONDS.labels(verb)


def raise_for_code(result: list[Any]) -> list[Any]:
    """Return a script's result, or raise the error that its code stands for."""
    error = ERRORS_BY_CODE.get(result[0])
    if error is not None:
        raise error
    return result


@cache
def source(verb: str, template: WakeUpTemplate | None) -> str:
    """Return a script's full text: the wake-up message, the includes, the verb, keys expanded."""
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
    return f"{_message_function(template)}\n{_KEY.sub(_key_expression, text)}"


def _key_expression(call: re.Match[str]) -> str:
    """Return the Lua expression for ``key.name(value, …)``, so that no script spells out a key.

    Expressions instead of functions: Lua creates a script's functions again on every run.
    """
    values = iter([each for each in map(str.strip, call[2].split(",")) if each])
    # Every other part is a placeholder.
    parts = re.split(r"{(\w+)}", PATTERNS[call[1]])
    texts = [
        f"'{part}'" if number % 2 == 0 else "tag" if part == "tag" else next(values)
        for number, part in enumerate(parts)
    ]
    joined = " .. ".join(text for text in texts if text != "''")
    return f"({joined})"


def _message_function(template: WakeUpTemplate | None) -> str:
    """Return Lua code that defines ``queue`` and ``message``, as constants of the script.

    Constants, so that no call has to send the message's text as an argument.
    """
    if template is None:
        return "local queue, message"
    placeholders = ("JOB", "PRIORITY", "SENT")
    parts = re.split(f"@({'|'.join(placeholders)})@", template.message)
    # Every other part is a placeholder, which is also the name of the parameter.
    joined = " .. ".join(
        part if number % 2 else f"[==[{part}]==]" for number, part in enumerate(parts)
    )
    return (
        f"local queue = '{template.queue_prefix}'\n"
        f"local function message({', '.join(placeholders)}) return {joined} end"
    )


def _flatten(args: Mapping[str, object], fields: Mapping[str, object]) -> list[str]:
    """Return ``[number of args, name, value, …, field, value, …]``.

    An argument that is None is left out, a field that is None becomes the empty string.
    """
    given = [pair for pair in args.items() if pair[1] is not None]
    pairs = (*given, *fields.items())
    return [str(len(given)), *_texts(text for pair in pairs for text in pair)]


def _texts(values: Iterable[object]) -> list[str]:
    # Almost all values are strings already.
    return [
        value if type(value) is str else "" if value is None else str(value) for value in values
    ]
