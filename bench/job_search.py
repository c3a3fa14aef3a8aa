"""How long operators' searches take with many jobs in the history: ``python -m bench.job_search``.

A real PostgreSQL with 32 MB of shared buffers gets the jobs by ``generate_series``, before the
migration that adds the indexes. Each search runs through the API, with an empty Valkey.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from api.app import create_app
from common.bootstrap import assemble
from common.history import migrate, open_engine
from common.settings import Settings
from stack.postgres import start_postgres
from stack.services import start_valkey
from tests.unit.api.conftest import FakeStorage

JOBS = 1_000_000
ROUNDS = 5
#: Milliseconds that a search may take.
LIMIT = 200
TOKEN = "bench"  # noqa: S105
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}

#: Over 30 days. A tenth of the jobs belong to one user, the others to 5,000; one error code is
#: rare, one state and one priority do not exist.
_INSERT = """
INSERT INTO jobs (id, owner, status, version, priority, on_missing, attempt, max_attempts, "fence",
  progress, total_files, processed_files, error_code, error, retryable, metadata, created_at,
  updated_at, completed_at)
SELECT gen_random_uuid(),
  CASE WHEN n % 10 = 0 THEN 'anonymous' ELSE 'user-' || (n * 79 % 5000) END,
  CASE WHEN n % 20 = 3 THEN 'failed' WHEN n % 25 = 4 THEN 'cancelled'
    WHEN n > :jobs - 20000 THEN 'completed' ELSE 'expired' END,
  5, CASE WHEN n % 17 = 0 THEN 'low' ELSE 'normal' END, 'fail', 1, 4, n, 100, 10, 10,
  CASE WHEN n % 100000 = 3 THEN 'WORKER_LOST' WHEN n % 40 = 3 THEN 'FILE_NOT_FOUND'
    WHEN n % 20 = 3 THEN 'NETWORK_ERROR' END,
  CASE WHEN n % 20 = 3 THEN 'The reason' END, CASE WHEN n % 20 = 3 THEN false END, '{}',
  now() - (:jobs - n) * interval '30 days' / :jobs, now(), now()
FROM generate_series(1, :jobs) n
"""


def main() -> None:
    """Print the slowest of several rounds of each search; exit with 1 if one exceeds the limit."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else JOBS
    with tempfile.TemporaryDirectory() as directory:
        server = start_postgres(Path(directory) / "postgres", output=Path(directory) / "log")
        valkey = start_valkey(Path(directory))
        try:
            engine = open_engine(server.url, timeout=120, size=2)
            _fill(engine, jobs)
            slowest = _measure(engine, Redis.from_url(valkey.url, decode_responses=True))
            engine.dispose()
        finally:
            server.process.stop()
            valkey.process.stop()
    print(f"slowest: {slowest:.0f} ms")
    sys.exit(slowest > LIMIT)


def _fill(engine: Engine, jobs: int) -> None:
    config = Config()
    config.set_main_option("script_location", "common.history:migrations")
    config.set_main_option("path_separator", "os")
    began = time.perf_counter()
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text(_INSERT), {"jobs": jobs})
    print(f"{jobs:,} jobs in {time.perf_counter() - began:.0f} s", flush=True)
    began = time.perf_counter()
    migrate(engine)
    print(f"migrated in {time.perf_counter() - began:.0f} s", flush=True)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE jobs"))
        size = connection.execute(text("SELECT pg_total_relation_size('jobs')")).scalar_one()
    print(f"{size / 1e6:.0f} MB", flush=True)


def _measure(engine: Engine, redis: Redis) -> float:
    storage: Any = FakeStorage()
    client = create_app(assemble(Settings(admin_token=TOKEN), redis, storage, engine)).test_client()
    some_id = _search(client, {})["jobs"][7]["jobId"]
    cursor = _search(client, {"limit": 50})["nextCursor"]
    with engine.connect() as connection:
        middle = connection.execute(
            text("SELECT created_at FROM jobs ORDER BY created_at OFFSET 500000 LIMIT 1")
        ).scalar()
    searches: dict[str, dict[str, Any]] = {
        "first page": {},
        "second page": {"cursor": cursor},
        "full ID": {"q": some_id},
        "first 8 characters of an ID": {"q": some_id[:8]},
        "first character of an ID": {"q": some_id[:1]},
        "unknown beginning of an ID": {"q": "00000000-0000"},
        "user with many jobs": {"user": "anonymous"},
        "user with few jobs": {"user": "user-42"},
        "unknown user": {"user": "nobody"},
        "failed": {"status": "failed"},
        "queued, none": {"status": "queued"},
        "frequent error code": {"errorCode": "FILE_NOT_FOUND"},
        "rare error code": {"errorCode": "WORKER_LOST"},
        "unknown error code": {"errorCode": "NO_SUCH_CODE"},
        "high priority, none": {"priority": "high"},
        "low priority": {"priority": "low"},
        "from the middle": {"to": middle.isoformat()} if middle else {},
        "user and status": {"user": "anonymous", "status": "cancelled"},
        "user and status, none": {"user": "user-42", "status": "queued"},
        "user and error code": {"user": "anonymous", "errorCode": "NETWORK_ERROR"},
        "status and priority, none": {"status": "failed", "priority": "high"},
        "status and error code": {"status": "failed", "errorCode": "WORKER_LOST"},
        "status that the code excludes": {"status": "completed", "errorCode": "FILE_NOT_FOUND"},
        "everything": {
            "user": "user-42", "status": "failed", "priority": "low", "errorCode": "NETWORK_ERROR",
            "q": some_id[:2],
        },
    }  # fmt: skip
    slowest = 0.0
    for name, query in searches.items():
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            found = len(_search(client, query)["jobs"])
            times.append((time.perf_counter() - began) * 1000)
        slowest = max(slowest, *times)
        print(f"{name:34} {found:3} jobs  median {statistics.median(times):6.1f} ms"
              f"  slowest {max(times):6.1f} ms", flush=True)  # fmt: skip
    return slowest


def _search(client: FlaskClient, query: dict[str, Any]) -> Any:
    response: Any = client.get("/v1/admin/jobs", query_string=query, headers=OPERATOR)
    if response.status_code != 200 or response.json["history"] != "ok":
        raise SystemExit(f"{query}: {response.json}")
    return response.json


if __name__ == "__main__":
    main()
