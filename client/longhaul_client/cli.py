"""The ``longhaul`` command. Its help text documents the exit codes, which scripts rely on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem
from rich.console import Console

from .client import DEFAULT_URL, Longhaul, completed
from .display import dead_letter_line, details, fetching, follow
from .errors import (
    ApiProblem,
    JobUnsuccessful,
    LonghaulClientError,
    TransferFailed,
    Unreachable,
)
from .job import FINISHED, Job

EXIT_CODES: dict[type[LonghaulClientError], int] = {
    JobUnsuccessful: 1,
    ApiProblem: 3,
    Unreachable: 4,
    TransferFailed: 5,
}


class Session:
    """What every command needs: the API client and the output."""

    def __init__(self, api: Longhaul, *, as_json: bool) -> None:
        self.api = api
        self.as_json = as_json
        #: Progress and messages. Standard output is for results only.
        self.console = Console(stderr=True, quiet=as_json, highlight=False)

    def result(self, job: Job) -> None:
        """Print one job."""
        if self.as_json:
            self.json(job.raw)
        else:
            click.echo(
                f"{job.job_id}  {job.status:<10} {job.progress:>3}%  {details(job)}".rstrip()
            )

    def json(self, value: Mapping[str, Any]) -> None:
        """Print a JSON object on one line."""
        click.echo(json.dumps(value, ensure_ascii=False))


class _Main(click.Group):
    """The command group: prints errors as one line and exits with their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LonghaulClientError as error:
            click.echo(f"longhaul: {error}", err=True)
            ctx.exit(next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)))
        except KeyboardInterrupt:
            click.echo("longhaul: interrupted; the job continues, see 'longhaul jobs'", err=True)
            ctx.exit(130)


def _complete_job(ctx: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
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


def _version() -> str:
    try:
        return metadata.version("longhaul-client")
    except metadata.PackageNotFoundError:
        return "unknown"


_job = click.argument("job_id", metavar="JOB", shell_complete=_complete_job)


@click.group(cls=_Main)
@click.option("--url", envvar="LONGHAUL_URL", default=DEFAULT_URL, show_default=True)
@click.option("--token", envvar="LONGHAUL_TOKEN", help="Bearer token.")
@click.option("--user", envvar="LONGHAUL_USER", help="User name, if the API has no authentication.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per line, for scripts."
)
@click.version_option(_version())
@click.pass_context
def main(ctx: click.Context, url: str, token: str | None, user: str | None, as_json: bool) -> None:
    """Start long-running downloads, watch them, fetch and verify their archives.

    \b
    Exit codes:
      0    success
      1    the job failed, was cancelled or has expired
      2    usage error
      3    the API rejected the request
      4    the API is unreachable
      5    the download failed or the checksum is wrong
      130  interrupted by Ctrl-C

    \b
    Shell completion of commands and job ids for bash (also zsh and fish):
      eval "$(_LONGHAUL_COMPLETE=bash_source longhaul)"
    """
    api = ctx.with_resource(Longhaul(url, token=token, user=user))
    ctx.obj = Session(api, as_json=as_json)


@main.command()
@click.argument("file_ids", metavar="FILE_ID...", type=int, nargs=-1)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File or directory to write to."
)
@click.option(
    "--job", "job_id", shell_complete=_complete_job, help="Download the archive of this job."
)
@click.option("--priority", type=click.Choice(["low", "normal", "high"]))
@click.option("--skip-missing", is_flag=True, help="Leave out files that do not exist.")
@click.pass_obj
def get(
    session: Session,
    file_ids: tuple[int, ...],
    output: Path | None,
    job_id: str | None,
    priority: Any,
    skip_missing: bool,
) -> None:
    """Download files as one archive and verify it.

    If the transfer is interrupted, download the same archive again to resume it.
    """
    if bool(file_ids) == bool(job_id):
        raise click.UsageError("specify either FILE_IDs or --job")
    if job_id is None:
        job_id = session.api.start(
            file_ids, priority=priority, on_missing="skip" if skip_missing else None
        ).job_id
        session.console.print(f"job {job_id}")
    job = completed(follow(session.console, session.api.watch(job_id)))
    target = _target(job, output)
    with fetching(session.console) as progress:
        session.api.download(job, target, progress)
    if session.as_json:
        session.json({**job.raw, "path": str(target)})
    else:
        click.echo(target)


@main.command()
@_job
@click.pass_obj
def status(session: Session, job_id: str) -> None:
    """Show a job. Exit with 1 if it ended without an archive."""
    job = session.api.status(job_id)
    session.result(job)
    if job.finished:
        completed(job)


@main.command()
@_job
@click.pass_obj
def watch(session: Session, job_id: str) -> None:
    """Follow a job until it is finished. With --json, print every snapshot."""
    snapshots = session.api.watch(job_id)
    if session.as_json:
        for job in snapshots:
            session.json(job.raw)
    else:
        job = follow(session.console, snapshots)
        session.result(job)
    completed(job)


@main.command()
@_job
@click.pass_obj
def cancel(session: Session, job_id: str) -> None:
    """Cancel a job. Cancelling it again is not an error."""
    session.api.cancel(job_id)
    session.result(session.api.status(job_id))


@main.command()
@_job
@click.pass_obj
def retry(session: Session, job_id: str) -> None:
    """Run a failed job again."""
    session.result(session.api.retry(job_id))


@main.command()
@click.option("--status", "state", type=click.Choice(["queued", "processing", *sorted(FINISHED)]))
@click.option("--limit", default=20, show_default=True, help="Maximum number of jobs.")
@click.pass_obj
def jobs(session: Session, state: str | None, limit: int) -> None:
    """List your jobs, newest first."""
    for job in session.api.jobs(status=state, limit=limit):
        session.result(job)


@main.command()
@click.pass_obj
def stats(session: Session) -> None:
    """Show statistics of the queue."""
    statistics = session.api.stats()
    if session.as_json:
        session.json(statistics)
        return
    for name, value in statistics.items():
        click.echo(f"{name:<20}{value if isinstance(value, str) else json.dumps(value)}")


@main.command("dead-letters")
@click.option("--limit", default=20, show_default=True, help="Maximum number of jobs.")
@click.pass_obj
def dead_letters(session: Session, limit: int) -> None:
    """List jobs that failed for good, newest first (operators only)."""
    for letter in session.api.dead_letters(limit=limit):
        if session.as_json:
            session.json(letter)
        else:
            click.echo(dead_letter_line(letter))


def _target(job: Job, output: Path | None) -> Path:
    # Only the last component: the API's file name must not select another directory.
    name = Path(job.file_name or f"{job.job_id}.zip").name
    if output is None:
        return Path(name)
    return output / name if output.is_dir() else output
