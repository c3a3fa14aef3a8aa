"""The ``longhaul`` command: its help names the exit codes, which scripts may rely on."""

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
from .display import details, fetching, follow, given_up
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
    """What every command works with: the API, and how to speak to the user."""

    def __init__(self, api: Longhaul, *, as_json: bool) -> None:
        self.api = api
        self.as_json = as_json
        #: Progress and remarks; standard output is for results alone.
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
        """Print one JSON object on a line of its own."""
        click.echo(json.dumps(value, ensure_ascii=False))


class _Main(click.Group):
    """Ends with the exit code of what went wrong and one line about it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LonghaulClientError as error:
            click.echo(f"longhaul: {error}", err=True)
            ctx.exit(next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)))
        except KeyboardInterrupt:
            click.echo("longhaul: interrupted; the job goes on, see 'longhaul jobs'", err=True)
            ctx.exit(130)


def _complete_job(ctx: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    options = ctx.find_root().params
    try:
        with Longhaul(
            options["url"] or DEFAULT_URL, token=options["token"], user=options["user"], timeout=1
        ) as api:
            return [
                CompletionItem(job.job_id, help=job.status)
                for job in api.jobs(most=20)
                if job.job_id.startswith(start)
            ]
    except LonghaulClientError:
        return []


def _version() -> str:
    try:
        return metadata.version("longhaul-client")
    except metadata.PackageNotFoundError:
        return "of a working copy"


_job = click.argument("job_id", metavar="JOB", shell_complete=_complete_job)


@click.group(cls=_Main)
@click.option("--url", envvar="LONGHAUL_URL", default=DEFAULT_URL, show_default=True)
@click.option("--token", envvar="LONGHAUL_TOKEN", help="Bearer token.")
@click.option("--user", envvar="LONGHAUL_USER", help="User, where the API knows no tokens.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for scripts.")
@click.version_option(_version())
@click.pass_context
def main(ctx: click.Context, url: str, token: str | None, user: str | None, as_json: bool) -> None:
    """Long-running downloads: start them, watch them, fetch the archive, verify it.

    \b
    Exit codes:
      0    done
      1    the job failed, was cancelled or has expired
      2    wrong usage
      3    the API refused
      4    the API cannot be reached
      5    the transfer failed, or the checksum is wrong
      130  interrupted by Ctrl-C

    \b
    Completion of commands and job ids, for bash (zsh and fish alike):
      eval "$(_LONGHAUL_COMPLETE=bash_source longhaul)"
    """
    api = ctx.with_resource(Longhaul(url, token=token, user=user))
    ctx.obj = Session(api, as_json=as_json)


@main.command()
@click.argument("file_ids", metavar="FILE_ID...", type=int, nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File or folder to write.")
@click.option("--job", "job_id", shell_complete=_complete_job, help="Fetch this job's archive.")
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
    """Gather files into one archive, wait for it, fetch and verify it.

    An interrupted transfer goes on where it stopped when the same archive is fetched again.
    """
    if bool(file_ids) == bool(job_id):
        raise click.UsageError("give either FILE_IDs or --job")
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
    """Show a job as it is now; exit code 1 when it ended without an archive."""
    job = session.api.status(job_id)
    session.result(job)
    if job.finished:
        completed(job)


@main.command()
@_job
@click.pass_obj
def watch(session: Session, job_id: str) -> None:
    """Follow a job until it is finished; with --json every snapshot."""
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
    """Cancel a job; no error when it is cancelled already."""
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
@click.option("--most", default=20, show_default=True, help="How many jobs to show.")
@click.pass_obj
def jobs(session: Session, state: str | None, most: int) -> None:
    """List your jobs, newest first."""
    for job in session.api.jobs(status=state, most=most):
        session.result(job)


@main.command()
@click.pass_obj
def stats(session: Session) -> None:
    """Show the queue: what waits, what runs, how long it takes."""
    figures = session.api.stats()
    if session.as_json:
        session.json(figures)
        return
    for name, value in figures.items():
        click.echo(f"{name:<20}{value if isinstance(value, str) else json.dumps(value)}")


@main.command("dead-letters")
@click.option("--most", default=20, show_default=True, help="How many to show.")
@click.pass_obj
def dead_letters(session: Session, most: int) -> None:
    """List jobs that were given up, newest first (operators only)."""
    for letter in session.api.dead_letters(most=most):
        if session.as_json:
            session.json(letter)
        else:
            click.echo(given_up(letter))


def _target(job: Job, output: Path | None) -> Path:
    # The server's name is a name, never a way out of the folder.
    name = Path(job.file_name or f"{job.job_id}.zip").name
    if output is None:
        return Path(name)
    return output / name if output.is_dir() else output
