"""Real clients download a large archive through nginx, which alone reaches the object storage."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from stack.nginx import Nginx, start_nginx
from stack.process import free_port, wait_until
from stack.sample_catalog import s3_client
from stack.system import System
from tests.support import chromium
from tests.support.large_files import GIB, MIB, Client, fill
from tests.support.network_namespace import isolated
from tests.support.zip_tools import require

pytestmark = pytest.mark.timeout(600)

#: Four files: 256 MiB, or 1 GiB with ``make test-large``.
FILE_SIZE = GIB // 4 if os.environ.get("LARGE") else 64 * MIB
CURL_COULD_NOT_CONNECT = 7


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """A completed job in a system behind nginx, and the digest of its archive."""

    system: System
    nginx: Nginx
    job: dict[str, Any]
    #: The job's URL as a page or a message contains it.
    url: str
    sha256: str

    def statuses(self, count: int) -> list[int]:
        """Return the statuses of the last responses, newest last."""
        lines = self.nginx.access_log.read_text().splitlines()[-count:]
        return [int(line.partition('"status":')[2].partition(",")[0]) for line in lines]

    def api_processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.system.processes["api"].pid)
        return [parent, *parent.children(recursive=True)]

    def api_memory(self) -> int:
        return sum(process.memory_info().rss for process in self.api_processes())

    def api_seconds(self) -> float:
        times = [process.cpu_times() for process in self.api_processes()]
        return float(sum(each.user + each.system for each in times))


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    state, port = tmp_path_factory.mktemp("delivery"), free_port()
    env = {
        "DELIVERY": "proxy",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "TRUSTED_PROXIES": "1",
        "JOB_DEADLINE": "500",
    }
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, state)
        system = stack.enter_context(System(state, files=(), env=env))
        nginx = start_nginx(
            state / "nginx",
            upstream=f"127.0.0.1:{system.env['PORT']}",
            port=port,
            settings={"STORAGE_URL": system.s3_endpoint},
        )
        stack.callback(nginx.process.stop, 5)
        fill(system, [FILE_SIZE] * 4)
        with Client(system) as client:
            created = client.post([1, 2, 3, 4])
            job = client.wait_until_completed(created["jobId"])
        yield Delivered(
            system=system, nginx=nginx, job=job, url=created["resultUrl"], sha256=_stored(system)
        )


def _stored(system: System) -> str:
    """Return the digest of the archive, read from the storage itself."""
    s3 = s3_client(system.s3_endpoint)
    keys = [
        entry["Key"]
        for entry in s3.list_objects_v2(Bucket="archives")["Contents"]
        if entry["Size"] > 4 * FILE_SIZE
    ]
    (key,) = keys
    digest = hashlib.sha256()
    for block in s3.get_object(Bucket="archives", Key=key)["Body"].iter_chunks(MIB):
        digest.update(block)
    return digest.hexdigest()


@pytest.fixture(scope="module")
def client_network(delivered: Delivered) -> list[str]:
    """Return the beginning of a command that reaches nginx and nothing else."""
    prefix = isolated(int(delivered.nginx.url.rpartition(":")[2]))
    storage = delivered.system.s3_endpoint
    assert httpx.get(storage).status_code == 403
    refused = subprocess.run([*prefix, require("curl"), "-sS", storage], check=False)
    assert refused.returncode == CURL_COULD_NOT_CONNECT
    return prefix


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_nothing_that_a_client_sees_leads_to_the_storage(delivered: Delivered) -> None:
    storage = delivered.system.s3_endpoint.rpartition(":")[2]
    with httpx.Client(base_url=delivered.nginx.url, timeout=10) as http:
        link = http.post(f"/v1/download/{delivered.job['jobId']}/links", json={}).json()
        urls = [delivered.job["downloadUrl"], delivered.url, link["url"]]
        heads = [http.head(url) for url in urls]
        bodies = [
            http.get(f"/v1/download/status/{delivered.job['jobId']}").text,
            http.get(delivered.url, headers={"Accept": "application/json"}).text,
        ]
    assert all(url.startswith(f"{delivered.nginx.url}/") for url in urls)
    assert storage not in "".join([*bodies, *(str(head.headers) for head in heads)])
    assert [head.status_code for head in heads] == [200] * 3
    for head in heads:
        assert head.headers["Content-Length"] == str(delivered.job["fileSize"])
        assert head.headers["Content-Type"] == "application/zip"
        assert head.headers["Accept-Ranges"] == "bytes"
        assert delivered.job["fileName"] in head.headers["Content-Disposition"]


def test_curl_continues_an_interrupted_download(
    delivered: Delivered, client_network: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "archive.zip"
    # Redirects are not followed: without nginx there would be no archive.
    command = [*client_network, require("curl"), "-sS", "-C", "-", "-o", str(path)]
    first = subprocess.Popen([*command, "--limit-rate", "100M", delivered.url])
    wait_until(lambda: path.exists() and path.stat().st_size > FILE_SIZE // 2, "some bytes", 60)
    first.terminate()
    first.wait()
    assert FILE_SIZE // 2 < path.stat().st_size < delivered.job["fileSize"]
    subprocess.run([*command, delivered.url], check=True, timeout=240)
    assert _digest(path) == delivered.sha256
    # Of a complete archive there is nothing to continue.
    subprocess.run([*command, delivered.url], check=True, timeout=60)
    assert _digest(path) == delivered.sha256
    assert delivered.statuses(2) == [206, 416]


def test_aria2_downloads_over_several_connections_by_a_link_for_one_use(
    delivered: Delivered, client_network: list[str], tmp_path: Path
) -> None:
    link = httpx.post(
        f"{delivered.nginx.url}/v1/download/{delivered.job['jobId']}/links",
        json={"maxUses": 1, "fileName": "mine.zip"},
    ).json()
    options = ("-q", "-x8", "-s8", "-k1M", "-d", str(tmp_path))
    subprocess.run(
        [*client_network, require("aria2c"), *options, link["url"]], check=True, timeout=240
    )
    assert _digest(tmp_path / "mine.zip") == delivered.sha256
    links = httpx.get(f"{delivered.nginx.url}/v1/download/{delivered.job['jobId']}/links").json()
    (used,) = [each for each in links["links"] if each["linkId"] == link["linkId"]]
    assert used["uses"] == 1


def test_a_browser_saves_the_archive(
    delivered: Delivered, client_network: list[str], tmp_path: Path
) -> None:
    link = httpx.post(
        f"{delivered.nginx.url}/v1/download/{delivered.job['jobId']}/links",
        json={"fileName": "Größe.zip"},
    ).json()
    saved = chromium.download(link["url"], tmp_path, prefix=client_network, seconds=240)
    assert saved.name == "Größe.zip"
    assert _digest(saved) == delivered.sha256


def test_ranges_are_bytes_of_the_same_archive_while_it_is_the_same(delivered: Delivered) -> None:
    size = delivered.job["fileSize"]
    with httpx.Client(timeout=30) as http:
        tag = http.head(delivered.url).headers["ETag"]
        middle = http.get(delivered.url, headers={"Range": "bytes=1000-1999", "If-Range": tag})
        assert middle.status_code == 206
        assert middle.headers["Content-Range"] == f"bytes 1000-1999/{size}"
        assert middle.headers["ETag"] == tag
        last = http.get(delivered.url, headers={"Range": "bytes=-22"})
        assert last.content[:4] == b"PK\x05\x06"
        start = http.get(delivered.url, headers={"Range": "bytes=0-3"})
        assert start.content == b"PK\x03\x04"
        changed = {"Range": "bytes=1000-1999", "If-Range": '"another"'}
        # RFC 9110, 13.1.5: the whole archive, because it is not the one that the client has.
        with http.stream("GET", delivered.url, headers=changed) as whole:
            assert (whole.status_code, whole.headers["Content-Length"]) == (200, str(size))
        beyond = http.get(delivered.url, headers={"Range": f"bytes={size}-"})
        assert (beyond.status_code, beyond.json()["code"]) == (416, "RANGE_NOT_SATISFIABLE")
        assert beyond.headers["Content-Range"] == f"bytes */{size}"
        unchanged = http.get(delivered.url, headers={"If-None-Match": tag})
        assert (unchanged.status_code, unchanged.content) == (304, b"")


def test_the_api_needs_neither_memory_nor_time_for_the_bytes(delivered: Delivered) -> None:
    httpx.head(delivered.url)
    memory, seconds = delivered.api_memory(), delivered.api_seconds()
    started = time.monotonic()
    digest, size = hashlib.sha256(), 0
    with httpx.stream("GET", delivered.url, timeout=60) as response:
        for block in response.iter_raw(MIB):
            digest.update(block)
            size += len(block)
    assert digest.hexdigest() == delivered.sha256
    grown = (delivered.api_memory() - memory) / MIB
    busy, elapsed = delivered.api_seconds() - seconds, time.monotonic() - started
    print(f"{size / MIB:.0f} MiB in {elapsed:.1f} s: API {grown:+.1f} MiB, {busy:.2f} s of CPU")
    # Reading a part of it in Python would take as many buffers, and about 1 s per GiB.
    assert grown < 8
    assert busy < 0.3 + elapsed / 20


def test_an_archive_that_was_deleted_is_gone(delivered: Delivered) -> None:
    """The last test of this module, because it deletes the archive."""
    s3 = s3_client(delivered.system.s3_endpoint)
    for entry in s3.list_objects_v2(Bucket="archives")["Contents"]:
        s3.delete_object(Bucket="archives", Key=entry["Key"])
    response = httpx.get(delivered.url)
    assert (response.status_code, response.json()["code"]) == (410, "JOB_EXPIRED")
    assert "AccessDenied" not in response.text


def test_neither_log_of_nginx_contains_a_signature(delivered: Delivered) -> None:
    log = delivered.nginx.access_log.read_text()
    assert f'"path":"/v1/download/{delivered.job["jobId"]}"' in log
    for secret in ("X-Amz", "Signature", "archives/", delivered.url.rpartition("=")[2]):
        assert secret not in log
