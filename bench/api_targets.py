"""The two servers that ``make bench-api`` measures side by side, each with a store of its own."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from common.job_store import keys
from common.job_store.client import open_client
from common.job_store.jobs import JobStore, Limits
from common.jobs.model import JobSpec
from stack.process import Process, free_port, wait_until
from stack.services import Valkey, start_valkey

ROOT = Path(__file__).parent.parent
#: Load drivers and the peer's server; the peer needs its node_modules beside server.mjs.
PEER = Path(os.environ.get("PEER_DIR", ROOT / "peer"))
PEER_NODE = Path(os.environ.get("PEER_NODE_DIR", PEER / "node"))
DRIVERS = PEER / "drive"

USER = "bench"
SERVER_CORE, DRIVER_CORE = "0", "1"

#: What a worker would publish, with the time of sending where the driver finds it.
PAYLOAD = (
    '{"id":"{id}","user":"bench","status":"processing","priority":"normal","lane":"normal",'
    '"on_missing":"fail","attempt":"1","max_attempts":"4","fence":"1","progress":"42",'
    '"total_files":"1000","processed_files":"{n}","callback_url":"",'
    '"metadata":"{\\"t\\":\\"{t}\\"}","created_at":"1790000000000",'
    '"started_at":"1790000000000","updated_at":"1790000001000","version":"1{n}",'
    '"total_bytes":"123456","processed_bytes":"1234","seconds_remaining":"12.3","worker":"w"}'
)

#: Limits so high that none is met; they are counted all the same.
ENV = {
    "S3_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "LINK_SECRET": "bench",
    "LOG_LEVEL": "WARNING",
    "MAX_ACTIVE_JOBS": "100000000",
    "QUEUE_MAX": "100000000",
    "CREATE_PER_MINUTE_USER": "100000000",
    "CREATE_PER_MINUTE_IP": "100000000",
    "REQUESTS_PER_MINUTE_IP": "100000000",
    "MAX_STREAMS_PER_USER": "20000",
}


@dataclass(frozen=True, kw_only=True)
class Server:
    """A fresh server on one core, its store on the driver's core."""

    base: str
    pid: int
    store_pid: int
    redis_url: str
    #: Arguments that tell the drivers how this one is spoken to.
    fan_out: tuple[str, ...]
    accept: tuple[str, ...] = ()
    #: File of job ids that exist, where the driver does not make them.
    ids: Path | None = None


@contextmanager
def ours(state: Path, jobs: int) -> Iterator[Server]:
    """This project's API with ``jobs`` jobs that wait."""
    command = [sys.executable, "-m", "gunicorn", "-c", "api/gunicorn_conf.py", "api.wsgi:app"]
    with _server(state, command, ROOT, ENV, "/health/live") as (port, pid, store):
        ids = state / "ids"
        ids.write_text("\n".join(make_jobs(store.url, jobs)))
        tag = keys.tag_of_user(USER)
        yield Server(
            base=f"http://127.0.0.1:{port}",
            pid=pid,
            store_pid=store.process.pid,
            redis_url=store.url,
            ids=ids,
            # Another user each time: identical requests of one would be folded into one job.
            accept=("--header", "X-User-Id: u{n}"),
            fan_out=(
                *("--create", "none", "--channel", f"job:events:{tag}:{{id}}"),
                *("--payload", PAYLOAD),
            ),
        )


@contextmanager
def peer(state: Path, jobs: int) -> Iterator[Server]:  # noqa: ARG001
    """The Node server: Hono, BullMQ, ioredis, one subscriber per process."""
    env = {"SSE_MODE": "shared"}
    with _server(state, ["node", "server.mjs"], PEER_NODE, env, "/health") as (port, pid, store):
        yield Server(
            base=f"http://127.0.0.1:{port}",
            pid=pid,
            store_pid=store.process.pid,
            redis_url=store.url,
            fan_out=(),
        )


def figures(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a load driver prints. Raises ``RuntimeError`` with the end of its complaint."""
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def has_peer() -> bool:
    return shutil.which("node") is not None and (PEER_NODE / "node_modules").is_dir()


@contextmanager
def _server(
    state: Path, command: list[str], cwd: Path, env: dict[str, str], health: str
) -> Iterator[tuple[int, int, Valkey]]:
    state.mkdir(parents=True)
    store = start_valkey(state / "valkey")
    port = free_port()
    process = Process(
        "server",
        ["taskset", "-c", SERVER_CORE, *command],
        env={**env, "REDIS_URL": store.url, "PORT": str(port)},
        cwd=cwd,
        output=state / "log",
    )
    try:
        subprocess.run(
            ["taskset", "-apc", DRIVER_CORE, str(store.process.pid)],
            check=True,
            capture_output=True,
        )
        wait_until(lambda: answers(port, health), "the server", 60)
        yield port, process.pid, store
    finally:
        process.stop(10)
        store.process.stop()


class Nobody:
    """No worker runs, so there is none to wake."""

    messages = None

    def send(self, hints: object) -> None:
        """Nobody to tell."""


def store_of(url: str) -> JobStore:
    """A job store where users may have any number of jobs."""
    return JobStore(open_client(url, patience=30), Nobody(), Limits(max_active=10**8))


_numbers = count(1)


def make_jobs(url: str, number: int) -> list[str]:
    """Ids of new jobs, each another request."""
    store = store_of(url)
    return [store.create(USER, JobSpec(file_ids=(next(_numbers),))).job.id for _ in range(number)]


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
