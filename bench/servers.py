"""The servers that the benchmarks compare, each on a core and with a store of its own."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from common.job_store import keys
from common.job_store.client import open_client
from common.job_store.jobs import JobStore, Limits
from common.jobs.model import JobSpec
from stack.process import Process, free_port, wait_until
from stack.services import Valkey, start_valkey

ROOT = Path(__file__).parent.parent
#: The baseline, in Node.
PEER = Path(__file__).parent / "peer"

USER = "bench"
USERS = 500
ORIGIN = "https://app.example"
SERVER_CORE, DRIVER_CORE = "0", "1"

#: Settings that real deployments use: none; a web frontend on another host; that, with RS256
#: tokens and with every request traced.
PROFILES = ("plain", "cors", "jwt")

#: What a worker would publish, with the time of sending where the drivers find it.
PAYLOAD = (
    '{"id":"{id}","user":"bench","status":"processing","priority":"normal","lane":"normal",'
    '"on_missing":"fail","attempt":"1","max_attempts":"4","fence":"1","progress":"42",'
    '"total_files":"1000","processed_files":"{n}","callback_url":"",'
    '"metadata":"{\\"t\\":\\"{t}\\"}","created_at":"1790000000000",'
    '"started_at":"1790000000000","updated_at":"1790000001000","version":"1{n}",'
    '"total_bytes":"123456","processed_bytes":"1234","seconds_remaining":"12.3","worker":"w"}'
)
PEER_PAYLOAD = (
    '{"jobId":"{id}","status":"processing","progress":{n},"total":1000,'
    '"updatedAt":"2026-01-01T00:00:00.000Z","t":"{t}"}'
)

#: Limits so high that none is reached; they are counted all the same.
SETTINGS = {
    "S3_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "LOG_LEVEL": "WARNING",
    "MAX_ACTIVE_JOBS": "100000000",
    "QUEUE_MAX": "100000000",
    "CREATE_PER_MINUTE_USER": "100000000",
    "CREATE_PER_MINUTE_IP": "100000000",
    "REQUESTS_PER_MINUTE_IP": "100000000",
    "MAX_STREAMS_PER_ADDRESS": "20000",
    "MAX_STREAMS_PER_USER": "20000",
    "MAX_WAITING_REQUESTS": "2000",
    "MAX_WAITING_REQUESTS_PER_ADDRESS": "2000",
    "MAX_WAITING_REQUESTS_PER_USER": "2000",
}


@dataclass(frozen=True, kw_only=True)
class Server:
    """A fresh server on one core, with its store on the drivers' core."""

    base: str
    pid: int
    store_pid: int
    redis_url: str
    #: File of job ids that exist.
    ids: Path
    #: Files of the header sets that requests use: of new jobs, and of the jobs in ``ids``.
    create_headers: Path
    read_headers: Path
    #: Channel and payload of a job's changes, with ``{id}``, ``{n}`` and ``{t}``.
    channel: str
    payload: str
    has_long_poll: bool


class Profile:
    """The settings of one profile for both servers, with tokens and a trace collector."""

    def __init__(self, name: str) -> None:
        self.name = name
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        self._private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self._key = key
        public = key.public_key()
        self._public = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()
        self._jwks = json.dumps(
            {"keys": [{**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(public)), "kid": "bench"}]}
        )
        self._sink = _serve(self._jwks) if name == "jwt" else 0

    @property
    def settings(self) -> dict[str, str]:
        """Return our settings."""
        cors = {"CORS_ORIGINS": ORIGIN}
        tokens = {
            "AUTH_MODE": "jwt",
            "JWT_JWKS_URL": f"http://127.0.0.1:{self._sink}/jwks",
            "JWT_AUDIENCE": "longhaul",
            "JWT_ISSUER": "https://issuer.example",
            "OTLP_ENDPOINT": f"http://127.0.0.1:{self._sink}",
        }
        return {"plain": {}, "cors": cors, "jwt": cors | tokens}[self.name]

    @property
    def peer_settings(self) -> dict[str, str]:
        """Return the baseline's settings to the same effect."""
        tokens = {
            "JWT_PUBLIC_KEY": self._public,
            "OTLP_ENDPOINT": f"http://127.0.0.1:{self._sink}",
        }
        cors = {"CORS_ORIGINS": ORIGIN}
        return {"plain": {}, "cors": cors, "jwt": cors | tokens}[self.name]

    def headers(self, user: str) -> dict[str, str]:
        """Return the headers that ``user`` sends with every request."""
        origin = {} if self.name == "plain" else {"Origin": ORIGIN}
        if self.name != "jwt":
            return {"X-User-Id": user, **origin}
        claims = {
            "sub": user,
            "aud": "longhaul",
            "iss": "https://issuer.example",
            "exp": int(time.time()) + 86_400,
        }
        token = jwt.encode(claims, self._private, algorithm="RS256", headers={"kid": "bench"})
        return {"Authorization": f"Bearer {token}", **origin}

    def write_headers(self, state: Path) -> tuple[Path, Path]:
        """Write the files of header sets: many users who create, and the one who reads."""
        create, read = state / "create.json", state / "read.json"
        create.write_text(json.dumps([self.headers(f"user-{n}") for n in range(USERS)]))
        read.write_text(json.dumps([self.headers(USER)]))
        return create, read


@contextmanager
def ours(state: Path, jobs: int, profile: Profile) -> Iterator[Server]:
    """Run this project's API with ``jobs`` jobs that wait."""
    command = [sys.executable, "-m", "gunicorn", "-c", "api/gunicorn_conf.py", "api.wsgi:app"]
    settings = SETTINGS | profile.settings
    with run_server(state, command, ROOT, settings, "/health/live") as (port, pid, store):
        ids = state / "ids"
        ids.write_text("\n".join(make_jobs(store.url, jobs)))
        create, read = profile.write_headers(state)
        yield Server(
            base=f"http://127.0.0.1:{port}",
            pid=pid,
            store_pid=store.process.pid,
            redis_url=store.url,
            ids=ids,
            create_headers=create,
            read_headers=read,
            channel=f"job:events:{keys.tag_of_user(USER)}:{{id}}",
            payload=PAYLOAD,
            has_long_poll=True,
        )


@contextmanager
def peer(state: Path, jobs: int, profile: Profile) -> Iterator[Server]:
    """Run the Node server with ``jobs`` jobs that wait."""
    command = ["node", "api.mjs"]
    with run_server(state, command, PEER, profile.peer_settings, "/health") as (port, pid, store):
        ids = state / "ids"
        ids.write_text("\n".join(_post_jobs(port, jobs, profile.headers(USER))))
        create, read = profile.write_headers(state)
        yield Server(
            base=f"http://127.0.0.1:{port}",
            pid=pid,
            store_pid=store.process.pid,
            redis_url=store.url,
            ids=ids,
            create_headers=create,
            read_headers=read,
            channel="job:{id}",
            payload=PEER_PAYLOAD,
            has_long_poll=False,
        )


def drive(driver: str, *arguments: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a load driver; return its figures. Raises ``RuntimeError`` with the end of its log."""
    done = subprocess.run(
        ["taskset", "-c", DRIVER_CORE, sys.executable, "-m", f"bench.drivers.{driver}", *arguments],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{driver} failed: {done.stderr[-800:]}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


@contextmanager
def run_server(
    state: Path, command: Sequence[str], cwd: Path, env: Mapping[str, str], health: str
) -> Iterator[tuple[int, int, Valkey]]:
    """Run a server and its store; yield the port, the process id and the store."""
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
        move_to_driver_core(store.process.pid)
        wait_until(lambda: responds(port, health), "the server", 60)
        yield port, process.pid, store
    finally:
        process.stop(10)
        store.process.stop()


def move_to_driver_core(pid: int) -> None:
    """Pin a running process to the drivers' core."""
    command = ["taskset", "-apc", DRIVER_CORE, str(pid)]
    subprocess.run(command, check=True, capture_output=True)


class NoWakeUps:
    """Sends no wake-ups: no worker runs."""

    template = None

    def send(self, wake_ups: object) -> None:
        """Do nothing."""


def open_job_store(url: str) -> JobStore:
    """Return a job store in which a user may have any number of jobs."""
    return JobStore(open_client(url, timeout=30), NoWakeUps(), Limits(max_active=10**8))


_file_ids = count(1)


def make_jobs(url: str, number: int) -> list[str]:
    """Create jobs, each another request; return their ids."""
    store = open_job_store(url)
    return [store.create(USER, JobSpec(file_ids=(next(_file_ids),))).job.id for _ in range(number)]


def responds(port: int, path: str) -> bool:
    """Return whether the server on ``port`` responds to ``GET path`` with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _post_jobs(port: int, number: int, headers: Mapping[str, str]) -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    ids = []
    for _ in range(number):
        connection.request(
            "POST",
            "/v1/download/initiate",
            '{"file_ids":[70000,70001,70002]}',
            {"Content-Type": "application/json", **headers},
        )
        ids.append(json.loads(connection.getresponse().read())["jobId"])
    connection.close()
    return ids


def _serve(jwks: str) -> int:
    """Serve the issuer's keys and accept traces, in this process; return the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._respond(jwks.encode())

        def do_POST(self) -> None:
            if length := self.headers["Content-Length"]:
                self.rfile.read(int(length))
            else:
                while size := int(self.rfile.readline(), 16):
                    self.rfile.read(size + 2)
                self.rfile.readline()
            self._respond(b"{}")

        def _respond(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: it would cost the drivers' core time."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])
