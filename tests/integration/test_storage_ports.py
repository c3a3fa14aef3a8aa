"""The object storage of compose.yaml as a neighboring container sees it.

The command of compose.yaml runs here with other ports. This machine's own address stands for the
container's: what listens on the loopback interface only does not accept connections to it.
"""

from __future__ import annotations

import re
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import psutil
import pytest
import yaml
from botocore.config import Config

from stack.process import Process, accepts_connections, free_port, wait_until

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
KEYS = {"AWS_ACCESS_KEY_ID": "key-of-the-test", "AWS_SECRET_ACCESS_KEY": "secret-of-the-test"}


def _own_address() -> str | None:
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family == socket.AF_INET and not address.address.startswith("127."):
                return str(address.address)
    return None


@pytest.fixture
def ports() -> dict[str, int]:
    names = ("8333", "8334", "18333", "18334", "8888", "18888", "9333", "19333", "9340", "19340")
    return {name: free_port() for name in names}


@pytest.fixture
def storage(tmp_path: Path, ports: dict[str, int]) -> Iterator[Process]:
    weed = shutil.which("weed", path=str(Path(sys.executable).parent))
    (command,) = COMPOSE["services"]["seaweedfs"]["command"]
    command = command.replace("kill 1", "kill $$")
    command = command.replace("/entrypoint.sh", f"{weed}").replace("weed s3", f"{weed} s3")
    command = command.replace("-dir=/data", f"-dir={tmp_path}")
    command = command.replace("-filer=127.0.0.1:8888", "-filer=127.0.0.1:8888.18888")
    command = re.sub(
        r"(mini) ",
        r"\1 -master.port=9333 -master.port.grpc=19333 -volume.port=9340 -volume.port.grpc=19340 "
        f"-filer.port=8888 -filer.port.grpc=18888 -admin.port={free_port()} "
        f"-admin.port.grpc={free_port()} -master.telemetry=false ",
        command,
    )
    command = command.replace("-port=8333", "-port=8333 -port.grpc=18333")
    for name, port in ports.items():
        command = re.sub(rf"(?<=[=:.]){name}\b", str(port), command)
    process = Process(
        "storage",
        ["sh", "-c", command],
        env={**KEYS, "S3_BUCKET": "files"},
        cwd=tmp_path,
        output=tmp_path / "log",
    )
    family = []
    try:
        wait_until(lambda: accepts_connections(ports["8333"]), "the S3 gateway", 60)
        family = psutil.Process(process.pid).children(recursive=True)
        yield process
    finally:
        process.stop(5)
        for child in family:
            if child.is_running():
                child.kill()


def _accepts(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_neighbor_reaches_only_the_s3_gateway_and_needs_a_signature(
    storage: Process, ports: dict[str, int]
) -> None:
    address = _own_address()
    if address is None:
        pytest.skip("this machine has no address besides the loopback interface")
    listening = {name for name, port in ports.items() if _accepts("127.0.0.1", port)}
    assert {"8333", "8334", "8888", "9333", "9340"} <= listening
    reachable = {name for name, port in ports.items() if _accepts(address, port)}
    # 18333 is the gateway's gRPC port, which the other servers of SeaweedFS call.
    assert reachable <= {"8333", "18333"}
    endpoint = f"http://{address}:{ports['8333']}"
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}),
    )
    s3.put_object(Bucket="files", Key="1", Body=b"content")
    assert s3.get_object(Bucket="files", Key="1")["Body"].read() == b"content"
    for method in ("GET", "PUT", "DELETE"):
        assert httpx.request(method, f"{endpoint}/files/1").status_code == 403
