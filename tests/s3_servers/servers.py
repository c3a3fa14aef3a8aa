"""Starts S3 servers of others, and says what each is expected to support.

``tests/s3_servers/install.sh`` installs them. All listen on 127.0.0.1 only and keep their data in
one folder. Their results are also the table in docs/object-storage.md.
"""

from __future__ import annotations

import http.client
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.object_storage import StorageProfile
from stack.process import Process, free_port, wait_until
from stack.services import ACCESS_KEY, SECRET_KEY, start_s3
from tests.support.modeled_s3 import MODELS, ModeledS3

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INSTALLED = ROOT / ".cache" / "s3-servers"
KEY, SECRET = "test-key", "test-secret-0123456789"
#: Seconds until the slowest server, Ceph, serves requests.
START_TIMEOUT = 120

NO_COPIES = {"range_copy": False, "copy_checksum": False, "copy_precondition": False}
UNVERIFIED = {"part_checksum": False, "trailing_crc32": False, "whole_checksum": False}
RETURNS_CRC32 = {"returns_part_crc32": True, "trailing_crc32": False}

#: Runs LocalStack's S3 on this machine, without Docker, in LocalStack's own environment.
RUN_LOCALSTACK = """
import os
import runpy

import localstack.services.s3.constants as constants

constants.DEFAULT_PRE_SIGNED_SECRET_ACCESS_KEY = os.environ["SECRET_KEY"]

from localstack import config

config.dirs = config.Directories.for_host()
config.dirs.mkdirs()

import localstack.services.s3.provider as provider

provider.DEFAULT_S3_TMP_DIR = os.environ["FILESYSTEM_ROOT"] + "/s3"
runpy.run_module("localstack.runtime.main", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A running server."""

    url: str
    access_key: str = KEY
    secret_key: str = SECRET


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """An S3 implementation. ``lacking``: the fields of its profile that differ from AWS's."""

    name: str
    start: Callable[[Path], Any]
    lacking: dict[str, bool]
    has_lifecycle: bool = True

    @property
    def profile(self) -> dict[str, bool]:
        """Return the expected profile."""
        return {**StorageProfile().to_dict(), **self.lacking}


def _binary(name: str, program: str) -> str:
    """Return a program inside the installed packages of a server."""
    found = [path for path in (INSTALLED / name).rglob(program) if path.is_file()]
    executable = [path for path in found if path.stat().st_mode & 0o100 and path.suffix == ""]
    if not executable:
        raise FileNotFoundError(f"{name} is not installed: tests/s3_servers/install.sh {INSTALLED}")
    return str(max(executable, key=lambda path: path.stat().st_size))


@contextmanager
def _running(
    name: str, command: list[str], port: int, folder: Path, **options: Any
) -> Iterator[Endpoint]:
    process = Process(name, command, output=folder / "log.txt", cwd=folder, **options)
    try:
        wait_until(lambda: _responds(process, port), name, START_TIMEOUT)
        yield Endpoint(url=f"http://127.0.0.1:{port}", access_key=options.get("key", KEY))
    finally:
        process.stop(20)


def _responds(process: Process, port: int) -> bool:
    if not process.alive:
        raise RuntimeError("the server ended; see log.txt in its folder")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def seaweedfs(folder: Path) -> Iterator[Endpoint]:
    server = start_s3(folder)
    yield Endpoint(url=server.endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    server.process.stop()


@contextmanager
def localstack(folder: Path) -> Iterator[Endpoint]:
    """LocalStack's S3, which models AWS closely. It does not check Authorization headers."""
    port = free_port()
    env = {
        "TMPDIR": str(folder), "HOME": str(folder), "FILESYSTEM_ROOT": str(folder / "fs"),
        "SERVICES": "s3", "STRICT_SERVICE_LOADING": "1", "EAGER_SERVICE_LOADING": "1",
        "GATEWAY_LISTEN": f"127.0.0.1:{port}", "LOCALSTACK_HOST": f"127.0.0.1:{port}",
        "DISABLE_EVENTS": "1", "OVERRIDE_IN_DOCKER": "0", "S3_SKIP_SIGNATURE_VALIDATION": "0",
        "SKIP_SSL_CERT_DOWNLOAD": "1", "DNS_ADDRESS": "0", "AWS_DEFAULT_REGION": "us-east-1",
        "LS_LOG": "warn", "GATEWAY_SERVER": "hypercorn", "SECRET_KEY": SECRET,
    }  # fmt: skip
    (folder / "fs").mkdir()
    python = INSTALLED / "localstack" / "bin" / "python"
    command = [str(python), "-c", RUN_LOCALSTACK]
    # It does not stop after SIGTERM.
    with _running(
        "localstack", command, port, folder, env=env, stop_signal=signal.SIGKILL
    ) as found:
        yield found


@contextmanager
def juicefs(folder: Path) -> Iterator[Endpoint]:
    """JuiceFS's gateway: an older S3 front end of MinIO."""
    port, program, meta = free_port(), _binary("juicefs", "juicefs*"), f"sqlite3://{folder}/meta.db"
    env = {"HOME": str(folder), "MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET}
    (folder / "blocks").mkdir()
    storage = ["--storage", "file", "--bucket", f"{folder}/blocks/", "--trash-days", "0"]
    formatting = Process(
        "juicefs format",
        [program, "format", *storage, meta, "s3data"],
        output=folder / "format.txt",
    )
    wait_until(lambda: not formatting.alive, "juicefs format", 60)
    options = [
        *("--multi-buckets", "--keep-etag", "--no-usage-report", "--no-banner", "--object-meta"),
        *("--cache-dir", f"{folder}/cache", "--metrics", "127.0.0.1:0", "--no-agent"),
    ]
    command = [program, "gateway", *options, meta, f"127.0.0.1:{port}"]
    with _running("juicefs", command, port, folder, env=env) as found:
        yield found


@contextmanager
def moto(folder: Path) -> Iterator[Endpoint]:
    port = free_port()
    command = [str(INSTALLED / "moto/bin/moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    env = {
        "AWS_DEFAULT_REGION": "us-east-1",
        "MOTO_S3_CUSTOM_ENDPOINTS": f"http://127.0.0.1:{port}",
        "S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true",
    }
    with _running("moto", command, port, folder, env=env) as found:
        yield found


@contextmanager
def rclone(folder: Path) -> Iterator[Endpoint]:
    port = free_port()
    (folder / "data").mkdir()
    (folder / "rclone.conf").touch()
    options = [
        *("--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}"),
        *("--vfs-cache-mode", "writes", "--cache-dir", f"{folder}/cache"),
    ]
    command = [_binary("rclone", "rclone"), "serve", "s3", *options, f"{folder}/data"]
    env = {"HOME": str(folder), "RCLONE_CONFIG": str(folder / "rclone.conf")}
    with _running("rclone", command, port, folder, env=env) as found:
        yield found


@contextmanager
def ceph_rgw(folder: Path) -> Iterator[Endpoint]:
    port = free_port()
    command = ["bash", str(HERE / "start-ceph-rgw.sh"), str(folder / "ceph"), str(port)]
    with _running("ceph-rgw", command, port, folder) as found:
        yield found


@contextmanager
def swift(folder: Path) -> Iterator[Endpoint]:
    port = free_port()
    command = ["bash", str(HERE / "start-swift.sh"), str(folder / "swift"), str(port)]
    with _running("swift", command, port, folder) as found:
        yield Endpoint(url=found.url, access_key="test:key")


def _model(name: str) -> Callable[[Path], Any]:
    @contextmanager
    def start(_: Path) -> Iterator[Endpoint]:
        server = ModeledS3(MODELS[name])
        yield Endpoint(url=server.endpoint)
        server.close()

    return start


#: Servers of others that really run.
REAL = [
    S3Server(name="seaweedfs", start=seaweedfs, lacking=RETURNS_CRC32),
    S3Server(name="localstack", start=localstack, lacking={}),
    S3Server(
        name="juicefs", start=juicefs, has_lifecycle=False,
        lacking={"copy_checksum": False, **UNVERIFIED, "content_md5": True},
    ),
    S3Server(
        name="moto", start=moto,
        lacking={"copy_checksum": False, "copy_precondition": False, **UNVERIFIED},
    ),
    S3Server(name="rclone", start=rclone, has_lifecycle=False, lacking={
        **NO_COPIES, **UNVERIFIED, "content_md5": True, "list_uploads": False,
        "complete_etag": False,
    }),
    S3Server(
        name="ceph-rgw", start=ceph_rgw,
        lacking={
            "copy_checksum": False, "copy_precondition": False, **UNVERIFIED, "content_md5": True,
        },
    ),
    S3Server(name="swift", start=swift, has_lifecycle=False, lacking={
        **NO_COPIES, **UNVERIFIED, "full_object_crc32": False, "composite_crc32": False,
        "content_md5": True,
    }),
]  # fmt: skip

#: Servers whose documented rules are modeled.
MODELED = [
    S3Server(name="aws", start=_model("aws"), lacking={}),
    S3Server(name="minio-2024", start=_model("minio-2024"), lacking={
        "copy_checksum": False, "full_object_crc32": False, "composite_crc32": False,
        **UNVERIFIED, "content_md5": True,
    }),
    S3Server(name="minio-2025", start=_model("minio-2025"), lacking={"copy_checksum": False}),
    S3Server(name="r2", start=_model("r2"), lacking={
        **NO_COPIES, "mixed_parts": False, "full_object_crc32": False, "whole_checksum": False,
        "trailing_crc32": False,
    }),
    S3Server(name="gcs", start=_model("gcs"), has_lifecycle=False, lacking={
        **NO_COPIES, **UNVERIFIED, "full_object_crc32": False, "composite_crc32": False,
        "multi_delete": False, "content_md5": True,
    }),
    S3Server(name="b2", start=_model("b2"), has_lifecycle=False, lacking={
        "copy_checksum": False, **UNVERIFIED, "full_object_crc32": False,
        "composite_crc32": False, "put_crc32": False, "head_checksum": False, "content_md5": True,
    }),
    S3Server(name="garage", start=_model("garage"), lacking={
        "copy_checksum": False, "full_object_crc32": False, "composite_crc32": False,
        **UNVERIFIED, "content_md5": True,
    }),
]  # fmt: skip


def selected(names: str) -> list[S3Server]:
    """Return the servers with these comma-separated names; ``all`` means all of them."""
    if names == "all":
        return [*REAL, *MODELED]
    servers = {server.name: server for server in (*REAL, *MODELED)}
    return [servers[name] for name in names.split(",")]


#: Without S3_SERVERS: what is installed anyway, and for some tests also the models.
DEFAULT = "seaweedfs"
DEFAULT_QUICK = ",".join([DEFAULT, *(server.name for server in MODELED)])
