"""``make load``: runs the users of ``bench/locustfile.py`` against the whole system and judges it.

USERS users start within RAMP seconds and stay until SECONDS are over. HOST names a running system;
without it, one is started with WORKERS worker processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from stack.sample_catalog import SMALL
from stack.system import System

LOCUST = Path(__file__).parent.parent / ".venv-load" / "bin" / "locust"
#: Lower than in ``make up``: here, the users need a part of the same cores.
WORKER_NICE = 10
#: All users share one address here, and there are as many jobs as users.
UNLIMITED = {"CREATE_PER_MINUTE_IP": "1000000", "REQUESTS_PER_MINUTE_IP": "1000000"}


def main() -> int:
    """Run the load; return 0 when every check passes."""
    users = int(os.environ.get("USERS") or 100)
    ramp = float(os.environ.get("RAMP") or 20)
    seconds = float(os.environ.get("SECONDS") or 60)
    with ExitStack() as running:
        host = os.environ.get("HOST") or _started(running).base_url
        command = [
            *(str(LOCUST), "--locustfile", "bench/locustfile.py", "--host", host),
            *("--headless", "--only-summary"),
            *("--users", str(users), "--spawn-rate", f"{users / ramp:g}"),
            *("--run-time", f"{seconds:g}s", "--stop-timeout", "30"),
        ]
        files = ",".join(str(sample.file_id) for sample in SMALL)
        env = {"FILE_IDS": files, **os.environ}
        return subprocess.run(command, env=env, check=False, timeout=seconds + 120).returncode


def _started(running: ExitStack) -> System:
    state = running.enter_context(tempfile.TemporaryDirectory(prefix="longhaul-load-"))
    workers = int(os.environ.get("WORKERS") or 2)
    system = System(
        Path(state),
        workers=workers,
        worker_nice=WORKER_NICE,
        files=SMALL,
        env=UNLIMITED,
        report=print,
    )
    return running.enter_context(system)


if __name__ == "__main__":
    sys.exit(main())
