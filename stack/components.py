"""The components of the system: how each one starts, and how to tell that it is ready."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from redis.exceptions import RedisError

from common.job_store.client import open_client
from common.job_store.worker_registry import WorkerRegistry
from stack.postgres import is_ready, launch_postgres
from stack.process import Process
from stack.services import start_s3, start_valkey

ROOT = Path(__file__).parent.parent
_PROGRAMS = Path(sys.executable).parent

#: Where a component writes to: a stream of prefixed lines, or a log file.
Output = IO[str] | Path


@dataclass(frozen=True, kw_only=True)
class Component:
    """How to start one process of the system and how to check that it is ready."""

    name: str
    start: Callable[[], Process]
    #: Polled after the start until it returns true.
    ready: Callable[[Process], bool] = lambda _: True


def valkey(
    state: Path, port: int, output: Output, env: Mapping[str, str] | None = None
) -> Component:
    return Component(
        name="valkey",
        start=lambda: start_valkey(state / "valkey", port=port, output=output, env=env).process,
    )


def s3(state: Path, port: int, output: Output) -> Component:
    return Component(
        name="s3", start=lambda: start_s3(state / "s3", port=port, output=output).process
    )


def postgres(state: Path, port: int, output: Output) -> Component:
    """Return the component PostgreSQL.

    The others do not wait for it: history catches up with earlier jobs.
    """
    return Component(
        name="postgres",
        start=lambda: launch_postgres(state / "postgres", port=port, output=output),
        ready=lambda _: is_ready(port),
    )


def api(env: Mapping[str, str], output: Output, release: Path = ROOT) -> Component:
    """Return the component Gunicorn with the API. It is ready when its readiness check passes."""
    command = [str(_PROGRAMS / "gunicorn"), "-c", "api/gunicorn_conf.py", "api.wsgi:app"]
    return Component(
        name="api",
        start=lambda: Process("api", command, env=env, cwd=release, output=output),
        ready=lambda _: _responds_ok(int(env["PORT"]), "/health/ready"),
    )


def worker(name: str, env: Mapping[str, str], output: Output, release: Path = ROOT) -> Component:
    """Return the component of a Celery worker. It is ready when it is in the worker registry."""
    command = [sys.executable, "-m", "worker"]
    # Celery warns when it runs as root, which is fine for a local system.
    quiet = {"PYTHONWARNINGS": "ignore:You're running the worker", **env}
    return Component(
        name=name,
        start=lambda: Process(name, command, env=quiet, cwd=release, output=output),
        ready=lambda process: _is_registered(process, env["REDIS_URL"]),
    )


def _responds_ok(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _is_registered(process: Process, redis_url: str) -> bool:
    try:
        with open_client(redis_url, timeout=3) as client:
            return any(
                f"-{process.pid}-" in state.name for state in WorkerRegistry(client).registered()
            )
    except RedisError:
        return False
