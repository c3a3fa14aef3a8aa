"""``make demo``: one download from request to verified archive.

Starts the same system as ``make up`` on free ports and in a temporary directory, requests five
files, follows the job by server-sent events, downloads the archive from its signed link, compares
each member with the source object in S3, and stops the system. Exits with 0 if everything is right.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from longhaul_client import Job, Longhaul, LonghaulClientError
from longhaul_client.client import completed
from longhaul_client.display import fetching, follow, size_text
from longhaul_client.watch import WatchTransport
from stack.__main__ import StopRequested, stop_on_signals
from stack.process import ComponentDied
from stack.sample_catalog import BUCKET, CATALOG, s3_client
from stack.system import System

#: Text, an image, compressed data and video, 132 MiB in total. One name is not ASCII.
FILE_IDS = (10003, 10008, 10013, 10018, 10019)
_CHUNK = 1 << 20


class DemoFailed(Exception):
    """A result of the demo is wrong."""


class Demo:
    """The steps of the demo and the time that each one took."""

    def __init__(self, console: Console, directory: Path) -> None:
        self.console = console
        self.directory = directory
        self.system = System(directory / "system")
        self.times: dict[str, float] = {}

    def run(self) -> None:
        """Run all steps. Raise ``DemoFailed``, or an error of the system or the client."""
        self.console.print("[bold]Longhaul[/]: download five files as one archive\n")
        with self._timed("start the system and create its files"):
            self._start()
        try:
            with Longhaul(self.system.base_url, user="demo") as api:
                self._download(api)
        finally:
            with self._timed("stop the system"):
                self.system.stop()
        self._summary()

    def _start(self) -> None:
        components = "Valkey, SeaweedFS, the API and a worker"
        with self.console.status(f"starting {components} …"):
            self.system.start()
        self.console.print(f"[green]✓[/] {components} run on {self.system.base_url}\n")

    def _download(self, api: Longhaul) -> None:
        self.console.print(f'POST /v1/download/initiate {{"file_ids": {list(FILE_IDS)}}}')
        with self._timed("accept the job"):
            job = api.start(FILE_IDS, file_name="five-files.zip")
        self.console.print(f"202 Accepted: job {job.job_id}, followed by server-sent events\n")
        with self._timed("build the archive"):
            job = self._follow(api, job)
        archive = self.directory / (job.file_name or "archive.zip")
        with self._timed("download the archive"), fetching(self.console) as progress:
            api.download(job, archive, progress)
        self.console.print()
        with self._timed("compare every byte with its source"):
            self._compare(archive)

    def _follow(self, api: Longhaul, job: Job) -> Job:
        # No fallback: the demo fails if server-sent events do not work.
        events = api.watch(job.job_id, transports=[WatchTransport.SSE], timeout=20)
        job = completed(follow(self.console, events))
        if (job.processed_files, job.progress) != (len(FILE_IDS), 100):
            raise DemoFailed(f"the job ended with {job.processed_files} files at {job.progress}%")
        return job

    def _compare(self, path: Path) -> None:
        sources = s3_client(self.system.s3_endpoint)
        names = {sample.file_id: sample.name for sample in CATALOG}
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if [member.filename for member in members] != [names[id_] for id_ in FILE_IDS]:
                raise DemoFailed(f"the archive contains {[member.filename for member in members]}")
            for file_id, member in zip(FILE_IDS, members, strict=True):
                source = sources.get_object(Bucket=BUCKET, Key=str(file_id))["Body"]
                with archive.open(member) as copy:
                    while expected := source.read(_CHUNK):
                        if copy.read(len(expected)) != expected:
                            raise DemoFailed(f"{member.filename} differs from its source")
                    if copy.read(1):
                        raise DemoFailed(f"{member.filename} is longer than its source")
                size = size_text(member.file_size)
                self.console.print(f"[green]✓[/] {file_id}  {size:>9}  {member.filename}")

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.times[step] = time.monotonic() - started

    def _summary(self) -> None:
        table = Table.grid(padding=(0, 2))
        for step, seconds in self.times.items():
            table.add_row(f"{seconds:8.2f} s", step)
        table.add_row(f"[bold]{sum(self.times.values()):8.2f} s", "[bold]total")
        self.console.print()
        self.console.print(table)


_FAILURES = (DemoFailed, LonghaulClientError, ComponentDied, OSError, BotoCoreError, ClientError)


def main() -> int:
    """Run the demo. Return 0 if everything is right."""
    console = Console(highlight=False)
    home = Path(os.environ.get("STATE_DIR") or ".state")
    home.mkdir(parents=True, exist_ok=True)
    stop_on_signals()
    with tempfile.TemporaryDirectory(prefix="demo-", dir=home) as directory:
        demo = Demo(console, Path(directory))
        try:
            demo.run()
            return 0
        except _FAILURES as failure:
            console.print(f"\n[bold red]The demo failed:[/] {failure}", markup=True)
            _show_logs(console, demo.system)
        except StopRequested:
            console.print("\nstopped")
    return 1


def _show_logs(console: Console, system: System) -> None:
    for name in ("s3", "api", "worker-1"):
        if system.log(name).exists():
            console.rule(f"last lines of the log of {name}")
            lines = system.log(name).read_text(errors="replace").splitlines()
            console.print("\n".join(lines[-20:]), markup=False)


if __name__ == "__main__":
    sys.exit(main())
