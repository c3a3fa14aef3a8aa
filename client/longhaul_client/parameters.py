"""Parameters that several commands have."""

from __future__ import annotations

import re
from typing import Any

import click
from click.shell_completion import CompletionItem

from .client import DEFAULT_URL, Longhaul
from .errors import LonghaulClientError

#: IDs that one range may stand for; the API accepts fewer.
MAX_RANGE = 100_000


class FileIdRange(click.ParamType[range]):
    """A file ID, or a range of them such as 10001-10005."""

    name = "file ids"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> range:
        found = re.fullmatch(r"(-?[0-9]{1,20})(?:-(-?[0-9]{1,20}))?", value, re.ASCII)
        if not found:
            self.fail(f"{value!r} is not a file ID or a range such as 10001-10005", param, ctx)
        first = int(found[1])
        ids = range(first, int(found[2] or first) + 1)
        if not 1 <= ids.stop - ids.start <= MAX_RANGE:
            self.fail(f"{value} is not a range of 1 to {MAX_RANGE} file IDs", param, ctx)
        return ids


class ArchivePath(click.ParamType[tuple[range, str]]):
    """The path of one or more files in the archive: ID=folder/name or 10001-10005=folder/."""

    name = "path"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[range, str]:
        ids, equals, path = value.partition("=")
        if not equals or not path:
            self.fail(f"{value!r} is not a path such as 10001=reports/april.pdf", param, ctx)
        file_ids = FileIdRange().convert(ids, param, ctx)
        if len(file_ids) > 1 and not path.endswith("/"):
            self.fail(f"{value!r}: several files need a folder, which ends in /", param, ctx)
        return file_ids, path


def complete_job(ctx: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    """Return the user's newest jobs whose IDs begin with ``start``; none without the API."""
    options = ctx.find_root().params
    try:
        with Longhaul(
            options["url"] or DEFAULT_URL, token=options["token"], user=options["user"], timeout=1
        ) as api:
            return [
                CompletionItem(job.job_id, help=job.status)
                for job in api.jobs(limit=20)
                if job.job_id.startswith(start)
            ]
    except LonghaulClientError:
        return []


job_argument = click.argument("job_id", metavar="JOB", shell_complete=complete_job)
