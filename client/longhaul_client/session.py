"""What every command of ``longhaul`` needs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console

from .client import Longhaul
from .display import details
from .job import Job


class Session:
    """What every command needs: the API client and the output."""

    def __init__(self, api: Longhaul, *, as_json: bool) -> None:
        self.api = api
        self.as_json = as_json
        #: Progress and messages. Standard output is for results only.
        self.console = Console(stderr=True, quiet=as_json, highlight=False)
        #: What Ctrl-C prints.
        self.interrupted = "interrupted"

    def result(self, job: Job) -> None:
        """Print one job."""
        if self.as_json:
            self.json(job.raw)
        else:
            click.echo(
                f"{job.job_id}  {job.status:<10} {job.progress:>3}%  {details(job)}".rstrip()
            )

    def json(self, value: Mapping[str, Any]) -> None:
        """Print a JSON object on one line, in ASCII where standard output is not UTF-8."""
        utf8 = "utf" in (sys.stdout.encoding or "").lower()
        click.echo(json.dumps(value, ensure_ascii=not utf8))
