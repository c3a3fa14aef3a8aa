"""The parts of the system: how each is started, and how one sees that it does its work."""

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
from stack.postgres import launch_postgres
from stack.process import Process, accepts_connections
from stack.services import start_s3, start_valkey

ROOT = Path(__file__).parent.parent
_PROGRAMS = Path(sys.executable).parent

#: Where a part's output goes: a stream for prefixed lines, or a log file.
Output = IO[str] | Path


@dataclass(frozen=True, kw_only=True)
class Component:
    """One process of the system, not yet or no longer running."""

    name: str
    start: Callable[[], Process]
    #: Asked again and again after the start until it is true.
    ready: Callable[[Process], bool] = lambda _: True


def valkey(state: Path, port: int, output: Output) -> Component:
    return Component(
        name="valkey",
        start=lambda: start_valkey(state / "valkey", port=port, output=output).process,
    )


def s3(state: Path, port: int, output: Output) -> Component:
    return Component(
        name="s3", start=lambda: start_s3(state / "s3", port=port, output=output).process
    )


def postgres(state: Path, port: int, output: Output) -> Component:
    """Nobody waits for it to start: history catches up with whatever happened before."""
    return Component(
        name="postgres",
        start=lambda: launch_postgres(state / "postgres", port=port, output=output),
        ready=lambda _: accepts_connections(port),
    )


def api(env: Mapping[str, str], output: Output) -> Component:
    """Gunicorn with the API; ready when it says that it can reach what it needs."""
    command = [str(_PROGRAMS / "gunicorn"), "-c", "api/gunicorn_conf.py", "api.wsgi:app"]
    return Component(
        name="api",
        start=lambda: Process("api", command, env=env, cwd=ROOT, output=output),
        ready=lambda _: _answers(int(env["PORT"]), "/health/ready"),
    )


def worker(name: str, env: Mapping[str, str], output: Output) -> Component:
    """A Celery worker; ready when it shows itself to the others."""
    command = [sys.executable, "-m", "worker"]
    # Celery warns against root, which on a machine of one's own is nobody else's business.
    quiet = {"PYTHONWARNINGS": "ignore:You're running the worker", **env}
    return Component(
        name=name,
        start=lambda: Process(name, command, env=quiet, cwd=ROOT, output=output),
        ready=lambda process: _is_present(process, env["REDIS_URL"]),
    )


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _is_present(process: Process, redis_url: str) -> bool:
    try:
        with open_client(redis_url, timeout=3) as client:
            return any(
                f"-{process.pid}-" in state.name for state in WorkerRegistry(client).registered()
            )
    except RedisError:
        return False
