"""``make demo``: the whole path before your eyes. Five files, one archive, every byte checked.

Starts the same system as ``make up`` on free ports and in a folder of its own, asks for five files,
follows the job by server-sent events, fetches the archive by its signed link, compares each member
with the source object in S3, and stops everything. The exit code is 0 only if all of it was right.
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
from longhaul_client.watch import Transport
from stack.__main__ import StopRequested, stop_on_signals
from stack.sample_catalog import BUCKET, CATALOG, s3_client
from stack.system import ComponentDied, System

#: Text, a picture, compressed data and video; one name in another script; 150 MiB in all.
FILE_IDS = (10003, 10008, 10013, 10018, 10019)
_CHUNK = 1 << 20


class DemoFailed(Exception):
    """Something that the demo shows was not as it should be."""


class Demo:
    """The story, step by step, with the time that each step took."""

    def __init__(self, console: Console, folder: Path) -> None:
        self.console = console
        self.folder = folder
        self.system = System(folder / "system")
        self.times: dict[str, float] = {}

    def run(self) -> None:
        """Raises ``DemoFailed``, or what the system or the client raise."""
        self.console.print("[bold]Longhaul[/]: five files become one archive\n")
        with self._timed("system started and its catalogue made"):
            self._start()
        try:
            with Longhaul(self.system.base_url, user="demo") as api:
                self._download(api)
        finally:
            with self._timed("everything stopped"):
                self.system.stop()
        self._summary()

    def _start(self) -> None:
        parts = "Valkey, SeaweedFS, the API and a worker"
        with self.console.status(f"starting {parts} …"):
            self.system.start()
        self.console.print(f"[green]✓[/] {parts} run on {self.system.base_url}\n")

    def _download(self, api: Longhaul) -> None:
        self.console.print(f'POST /v1/download/initiate {{"file_ids": {list(FILE_IDS)}}}')
        with self._timed("job accepted"):
            job = api.start(FILE_IDS, file_name="five-files.zip")
        self.console.print(f"202 Accepted: job {job.job_id}, watched by SSE\n")
        with self._timed("archive built"):
            job = self._follow(api, job)
        archive = self.folder / (job.file_name or "archive.zip")
        with self._timed("archive fetched by its link"), fetching(self.console) as progress:
            api.download(job, archive, progress)
        self.console.print()
        with self._timed("every byte compared with its source"):
            self._compare(archive)

    def _follow(self, api: Longhaul, job: Job) -> Job:
        # No lesser transport is allowed: the demo fails if events do not come through.
        events = api.watch(job.job_id, transports=[Transport.SSE], patience=20)
        job = completed(follow(self.console, events))
        if (job.processed_files, job.progress) != (len(FILE_IDS), 100):
            raise DemoFailed(f"{job.processed_files} files and {job.progress} % at the end")
        return job

    def _compare(self, path: Path) -> None:
        sources = s3_client(self.system.s3_endpoint)
        names = {sample.file_id: sample.name for sample in CATALOG}
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if [member.filename for member in members] != [names[id_] for id_ in FILE_IDS]:
                raise DemoFailed(f"the archive holds {[member.filename for member in members]}")
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
    def _timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.times[what] = time.monotonic() - began

    def _summary(self) -> None:
        table = Table.grid(padding=(0, 2))
        for what, seconds in self.times.items():
            table.add_row(f"{seconds:8.2f} s", what)
        table.add_row(f"[bold]{sum(self.times.values()):8.2f} s", "[bold]in all")
        self.console.print()
        self.console.print(table)


_FAILURES = (DemoFailed, LonghaulClientError, ComponentDied, OSError, BotoCoreError, ClientError)


def main() -> int:
    """Tell the story; 0 when everything was right."""
    console = Console(highlight=False)
    home = Path(os.environ.get("STATE_DIR") or ".state")
    home.mkdir(parents=True, exist_ok=True)
    stop_on_signals()
    with tempfile.TemporaryDirectory(prefix="demo-", dir=home) as folder:
        demo = Demo(console, Path(folder))
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
            console.rule(f"the end of the log of {name}")
            lines = system.log(name).read_text(errors="replace").splitlines()
            console.print("\n".join(lines[-20:]), markup=False)


if __name__ == "__main__":
    sys.exit(main())
