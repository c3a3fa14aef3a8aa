"""The ``longhaul`` command. Its help text documents the exit codes, which scripts rely on."""

from __future__ import annotations

import io
import json
import shlex
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import httpx
from click.core import ParameterSource

from .client import DEFAULT_URL, Longhaul, completed
from .display import fetching, file_line, follow, missing_text
from .errors import (
    ApiProblem,
    InvalidSetting,
    JobUnsuccessful,
    TransferFailed,
    Unreachable,
)
from .job import Job
from .operator_commands import COMMANDS, filter_of, filter_options, print_all_jobs
from .output import Output
from .parameters import ArchivePath, FileIdRange, complete_job, job_argument
from .session import Session
from .webhook_commands import webhooks

EXIT_CODES: dict[type[Exception], int] = {
    JobUnsuccessful: 1,
    InvalidSetting: 2,
    ApiProblem: 3,
    Unreachable: 4,
    TransferFailed: 5,
    # Standard output or a file that is not part of a transfer.
    OSError: 5,
}
INCOMPLETE = 6
#: What a shell reports for a program that a closed pipe ended: 128 + SIGPIPE.
CLOSED_PIPE = 141


class _Main(click.Group):
    """The command group: prints errors as one line and exits with their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        _print_any_character()
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader of standard output has enough. Python would flush it again at exit.
            sys.stdout = io.StringIO()
            ctx.exit(CLOSED_PIPE)
        except tuple(EXIT_CODES) as error:
            click.echo(f"longhaul: {_one_line(error)}", err=True)
            ctx.exit(next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)))
        except KeyboardInterrupt:
            reason = ctx.obj.interrupted if ctx.obj else "interrupted"
            click.echo(f"longhaul: {reason}", err=True)
            ctx.exit(130)


def _print_any_character() -> None:
    """Let output contain characters that its encoding lacks, for example in a cp1252 pipe."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _version() -> str:
    try:
        return metadata.version("longhaul-client")
    except metadata.PackageNotFoundError:
        return "unknown"


@click.group(cls=_Main)
@click.option("--url", envvar="LONGHAUL_URL", default=DEFAULT_URL, show_default=True)
@click.option(
    "--token",
    envvar="LONGHAUL_TOKEN",
    help="Bearer token. Commands for operators need ADMIN_TOKEN, or a JWT with their scope.",
)
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
      2    usage error, or a URL, token or proxy that cannot be used
      3    the API rejected the request
      4    the API is unreachable
      5    the transfer failed, the disk is full, or the checksum is wrong
      6    the archive is saved but lacks files (with --fail-if-incomplete)
      130  interrupted by Ctrl-C
      141  standard output was closed, for example by 'head'

    \b
    Shell completion of commands and job ids for bash (also zsh and fish):
      eval "$(_LONGHAUL_COMPLETE=bash_source longhaul)"
    """
    api = ctx.with_resource(Longhaul(url, token=token, user=user))
    ctx.obj = Session(api, as_json=as_json)


@main.command()
@click.argument("file_ids", metavar="FILE_ID...", type=FileIdRange(), nargs=-1)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="File or directory to write to, or - for standard output.",
)
@click.option("-f", "--force", is_flag=True, help="Overwrite an existing file.")
@click.option(
    "--job", "job_id", shell_complete=complete_job, help="Download the archive of this job."
)
@click.option("--priority", type=click.Choice(["low", "normal", "high"]))
@click.option("--expires-in", type=click.IntRange(1), help="Seconds until the archive is deleted.")
@click.option("--skip-missing", is_flag=True, help="Leave out files that do not exist.")
@click.option(
    "--fail-if-incomplete", is_flag=True, help="Exit with 6 if files are missing from the archive."
)
@click.option(
    "--path",
    "paths",
    metavar="ID=PATH",
    type=ArchivePath(),
    multiple=True,
    help="Put a file into a folder of the archive, also under another name: 10001=2026/april.pdf, "
    "10001-10005=2026/. Repeat it for more files, or to have a file at several places.",
)
@click.option("--manifest", is_flag=True, help="Add a list of the files to the archive.")
@click.option("--no-wait", is_flag=True, help="Print the job and exit without downloading it.")
@click.pass_context
def get(
    ctx: click.Context,
    file_ids: tuple[range, ...],
    output: str | None,
    force: bool,
    job_id: str | None,
    priority: Any,
    expires_in: int | None,
    skip_missing: bool,
    fail_if_incomplete: bool,
    paths: tuple[tuple[range, str], ...],
    manifest: bool,
    no_wait: bool,
) -> None:
    """Download files as one archive and verify it.

    FILE_ID may be a range: 10001-10005. If the transfer is interrupted, download the same archive
    again to resume it.
    """
    session: Session = ctx.obj
    if bool(file_ids or paths) == bool(job_id):
        raise click.UsageError("specify either FILE_IDs or --job")
    if job_id and manifest:
        raise click.UsageError("--manifest cannot be combined with --job")
    if no_wait and (job_id or output):
        raise click.UsageError("--no-wait cannot be combined with --job or --output")
    if session.as_json and output == "-":
        raise click.UsageError("--json cannot be combined with -o -")
    destination = Output.parse(output, force=force)
    if job_id is None:
        job = session.api.start(
            [] if paths else [file_id for ids in file_ids for file_id in ids],
            files=_files_with_paths(file_ids, paths) if paths else None,
            manifest=manifest or None,
            priority=priority,
            on_missing="skip" if skip_missing else None,
            expires_in=expires_in,
        )
        if no_wait:
            session.result(job)
            return
        job_id = job.job_id
        session.console.print(f"job {job_id}")
    session.interrupted = (
        f"interrupted; the job continues. To get its archive: {_get_command(ctx, job_id, output)}"
    )
    job = follow(session.console, session.api.watch(job_id))
    if session.as_json and job.status != "completed":
        session.json(job.raw)
    _download(ctx, completed(job), destination)
    if job.missing_files:
        click.echo(
            f"longhaul: warning: {missing_text(job)} from the archive; "
            f"see 'longhaul files {job_id}', or try again with 'longhaul retry {job_id}'",
            err=True,
        )
        if fail_if_incomplete:
            ctx.exit(INCOMPLETE)


def _files_with_paths(
    file_ids: Iterable[range], paths: Iterable[tuple[range, str]]
) -> list[tuple[int, str | None]]:
    """Return the files in the order of their first mention, each with its paths or none."""
    by_id: dict[int, list[str | None]] = {file_id: [] for ids in file_ids for file_id in ids}
    for ids, path in paths:
        for file_id in ids:
            by_id.setdefault(file_id, []).append(path)
    return [(file_id, path) for file_id, places in by_id.items() for path in places or [None]]


def _download(ctx: click.Context, job: Job, destination: Output) -> None:
    session: Session = ctx.obj
    target = destination.target(job)
    path = target if isinstance(target, Path) else "-"
    resumed = _get_command(ctx, job.job_id, str(path), force=destination.force)
    session.interrupted = f"interrupted; to resume the download: {resumed}"
    with fetching(session.console) as progress:
        session.api.download(job, target, progress, overwrite=destination.force)
    if session.as_json:
        session.json({**job.raw, "path": str(path)})
    elif isinstance(target, Path):
        click.echo(path)


def _get_command(
    ctx: click.Context, job_id: str, output: str | None, *, force: bool = False
) -> str:
    """Return a command that downloads a job's archive, without the token or the password."""
    root = ctx.find_root()
    words = ["longhaul"]
    shown = {"url": _without_password(root.params["url"]), "user": root.params["user"]}
    for name, value in shown.items():
        if root.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            words += [f"--{name}", value]
    words += ["get", "--job", job_id]
    if output:
        words += ["-o", output]
    if force:
        words.append("--force")
    return shlex.join(words)


def _without_password(url: str) -> str:
    parsed = httpx.URL(url)
    if not parsed.password:
        return url
    return str(parsed.copy_with(username=parsed.username, password=None))


@main.command()
@job_argument
@click.pass_obj
def status(session: Session, job_id: str) -> None:
    """Show a job. Exit with 1 if it ended without an archive."""
    job = session.api.status(job_id)
    session.result(job)
    if job.finished:
        completed(job)


@main.command()
@job_argument
@click.pass_obj
def watch(session: Session, job_id: str) -> None:
    """Follow a job until it is finished. With --json, print every snapshot."""
    session.interrupted = f"interrupted; the job continues, see 'longhaul status {job_id}'"
    snapshots = session.api.watch(job_id)
    if session.as_json:
        for job in snapshots:
            session.json(job.raw)
    else:
        job = follow(session.console, snapshots)
        session.result(job)
    completed(job)


@main.command()
@job_argument
@click.pass_obj
def files(session: Session, job_id: str) -> None:
    """List the files of a job with their state, size and error."""
    for file in session.api.files(job_id):
        if session.as_json:
            session.json(file)
        else:
            click.echo(file_line(file))


@main.command()
@job_argument
@click.option("--expires-in", type=click.IntRange(1), help="Seconds until the link ends.")
@click.option("--max-uses", type=click.IntRange(1), help="Number of downloads.")
@click.option("--ip", help="Address or network that may use the link.")
@click.option("--name", "file_name", help="Name of the downloaded file.")
@click.pass_obj
def link(
    session: Session,
    job_id: str,
    expires_in: int | None,
    max_uses: int | None,
    ip: str | None,
    file_name: str | None,
) -> None:
    """Print a new link to the archive of a job. Anyone who has it can download the archive."""
    created = session.api.create_link(
        job_id, expires_in=expires_in, max_uses=max_uses, ip=ip, file_name=file_name
    )
    if session.as_json:
        session.json(created)
    else:
        click.echo(created["url"])


@main.command()
@job_argument
@click.pass_obj
def links(session: Session, job_id: str) -> None:
    """List the links of a job and how often they were used."""
    for each in session.api.links(job_id):
        if session.as_json:
            session.json(each)
            continue
        state = "revoked" if each["revokedAt"] else f"until {each['expiresAt']}"
        click.echo(f"{each['linkId']}  {each['uses']}/{each['maxUses'] or '-'}  {state}")


@main.command()
@job_argument
@click.argument("link_id", metavar="LINK")
@click.pass_obj
def unlink(session: Session, job_id: str, link_id: str) -> None:
    """Revoke a link."""
    session.api.revoke_link(job_id, link_id)


@main.command()
@job_argument
@click.pass_obj
def cancel(session: Session, job_id: str) -> None:
    """Cancel a job. Cancelling it again is not an error."""
    session.api.cancel(job_id)
    session.result(session.api.status(job_id))


@main.command()
@job_argument
@click.pass_obj
def retry(session: Session, job_id: str) -> None:
    """Run a failed job again, or one whose archive lacks files."""
    session.result(session.api.retry(job_id))


@main.command("delete-archive")
@job_argument
@click.pass_obj
def delete_archive(session: Session, job_id: str) -> None:
    """Delete the archive of a completed job. Deleting it again is not an error."""
    session.api.delete_archive(job_id)


@main.command()
@click.option("--days", type=click.IntRange(1), default=30, show_default=True)
@click.pass_obj
def usage(session: Session, days: int) -> None:
    """Show your plan and your usage by day."""
    found = session.api.usage(days=days)
    if session.as_json:
        session.json(found)
        return
    if found["plan"]:
        click.echo(f"plan {found['plan']}")
    for name, value in found["limits"].items():
        click.echo(f"{name:<20}{'unlimited' if value is None else json.dumps(value)}")
    if found["today"]["bytes"] is not None:
        click.echo(f"{'bytes today':<20}{found['today']['bytes']}")
    for day in found["days"] or ():
        jobs = f"{day['completed']} of {day['jobs']} jobs completed"
        click.echo(f"{day['day']}  {jobs}  {day['bytes']} bytes")


@main.command()
@filter_options
@click.option("--all", "of_all", is_flag=True, help="The jobs of all users (operators only).")
@click.option("--limit", default=20, show_default=True, help="Maximum number of jobs.")
@click.pass_obj
def jobs(session: Session, /, of_all: bool, limit: int, **options: Any) -> None:
    """List your jobs, newest first, or with --all those of all users.

    Options that choose jobs require --all, except --status.
    """
    job_filter = filter_of(options)
    if of_all:
        print_all_jobs(session, job_filter, limit)
        return
    if job_filter.keys() - {"status"}:
        raise click.UsageError("options that choose jobs require --all, except --status")
    for job in session.api.jobs(status=job_filter.get("status"), limit=limit):
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


for command in (*COMMANDS, webhooks):
    main.add_command(command)
