"""Commands for operators: the jobs of all users, dead letters, and pausing the queue."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from .display import dead_letter_line
from .errors import ApiProblem
from .parameters import job_argument
from .session import Session

STATUSES = ("queued", "processing", "completed", "failed", "cancelled", "expired")
PRIORITIES = ("high", "normal", "low")
ACTIONS = ("cancel", "retry", "requeue", "prioritize")

#: Options of a filter, and the members of the API's filter that they set.
_FILTER_OPTIONS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "--owner": ("user", {"help": "Only jobs of this user."}),
    "--status": ("status", {"type": click.Choice(STATUSES)}),
    "--error-code": ("errorCode", {"help": "Only jobs with this error code."}),
    "--priority": ("priority", {"type": click.Choice(PRIORITIES)}),
    "--from": ("from", {"type": click.DateTime(), "help": "Created at this time or later (UTC)."}),
    "--to": ("to", {"type": click.DateTime(), "help": "Created before this time (UTC)."}),
    "--id": ("q", {"help": "A job ID, or how it begins."}),
}


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a filter to a command, which gets them as keyword arguments.

    If the API rejects the filter, the error names the options.
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ApiProblem as problem:
            raise _naming_options(problem) from None

    for name, (member, settings) in reversed(list(_FILTER_OPTIONS.items())):
        run = click.option(name, f"filter_{member}", **settings)(run)
    return run


def _naming_options(problem: ApiProblem) -> ApiProblem:
    errors = problem.body.get("errors")
    if not isinstance(errors, dict):
        return problem
    options = {member: option for option, (member, _) in _FILTER_OPTIONS.items()}
    named = {options.get(name.removeprefix("filter."), name): errors[name] for name in errors}
    return ApiProblem(problem.status, {**problem.body, "errors": named}, problem.retry_after)


def filter_of(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the API's filter for the options that were given."""
    given = {
        name.removeprefix("filter_"): value for name, value in options.items() if value is not None
    }
    return {
        name: value.replace(tzinfo=UTC).isoformat() if isinstance(value, datetime) else value
        for name, value in given.items()
    }


def print_all_jobs(session: Session, job_filter: Mapping[str, str], limit: int) -> None:
    """Print the jobs of all users that the filter finds."""
    for job in session.api.all_jobs(job_filter, limit=limit):
        if session.as_json:
            session.json(job)
            continue
        state = f"{job['status']:<10} {job['progress']:>3}%"
        reason = job["errorCode"] or ""
        click.echo(
            f"{job['jobId']}  {job['createdAt']}  {state}  {job['userId']}  {reason}".rstrip()
        )


@click.command()
@click.argument("job_id", metavar="JOB")
@click.pass_obj
def inspect(session: Session, job_id: str) -> None:
    """Show everything that is known about a job (operators only)."""
    found = session.api.inspect(job_id)
    if session.as_json:
        session.json(found)
        return
    job = found["job"]
    facts = {
        "job": job["jobId"],
        "status": f"{job['status']} ({job['progress']}%)",
        "user": found["user"],
        "priority": job["priority"],
        "attempt": f"{job['attempt']} of {job['maxAttempts']}",
        "worker": found["worker"],
        "error": job["error"] and f"{job['error']} ({job['errorCode']})",
        "trace": found["traceId"],
        "actions": ", ".join(found["actions"]),
    }
    for name, value in facts.items():
        if value:
            click.echo(f"{name:<10}{value}")
    click.echo()
    for entry in found["timeline"]:
        click.echo(_timeline_line(entry))


def _timeline_line(entry: Mapping[str, Any]) -> str:
    kind = "" if entry["kind"] == "state" else f"{entry['kind']}: "
    notes = [
        entry["attempt"] and f"attempt {entry['attempt']}",
        entry["worker"] and f"on {entry['worker']}",
        entry["detail"],
        entry["error"] and f"{entry['error']} ({entry['errorCode']})"
        if entry["errorCode"]
        else entry["error"],
    ]
    return f"{entry['at']}  {kind}{entry['text']}  {', '.join(filter(None, notes))}".rstrip()


@click.command()
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("job_ids", metavar="[JOB]...", nargs=-1)
@filter_options
@click.option("--all", "everything", is_flag=True, help="All jobs, without a filter.")
@click.option(
    "--new-priority", type=click.Choice(PRIORITIES), help="Required by the action 'prioritize'."
)
@click.option("--dry-run", is_flag=True, help="Only count the jobs that would be changed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def act(
    session: Session,
    /,
    action: str,
    job_ids: tuple[str, ...],
    everything: bool,
    new_priority: str | None,
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Cancel, retry, requeue or prioritize jobs (operators only).

    Name the JOBs, or choose them by the options of 'longhaul jobs --all'. Of the failed jobs,
    'retry' runs all again, and 'requeue' only dead letters: those that may succeed this time.
    """
    job_filter = filter_of(options)
    if [bool(job_ids), bool(job_filter), everything].count(True) != 1:
        raise click.UsageError("specify either JOBs, or options that choose them, or --all")
    if (action == "prioritize") != bool(new_priority):
        raise click.UsageError("'prioritize' requires --new-priority, and only it")
    body: dict[str, Any] = {"action": action, "priority": new_priority}
    chosen: dict[str, Any] = {"jobIds": list(job_ids)} if job_ids else {"filter": job_filter}
    preview = session.api.act({**body, **chosen, "dryRun": True})
    count = f"{'more than ' if preview['more'] else ''}{preview['matched']}"
    if dry_run:
        if session.as_json:
            session.json(preview)
        else:
            click.echo(f"{count} jobs match.")
        return
    if preview["matched"] and not yes:
        click.confirm(f"{action} {count} jobs?", abort=True, err=True)
    if "filter" in chosen:
        # Jobs that were created since were not counted.
        chosen["filter"].setdefault("to", preview["asOf"])
    _print_outcome(session, session.api.act_on_all({**body, **chosen}))


def _print_outcome(session: Session, outcome: Mapping[str, Any]) -> None:
    if session.as_json:
        session.json(outcome)
        return
    click.echo(f"{outcome['changed']} jobs changed.")
    for rejected in outcome["rejected"]:
        click.echo(f"{rejected['jobId']}  {rejected['error']} ({rejected['errorCode']})", err=True)


@click.command("audit")
@click.option("--limit", default=20, show_default=True, help="Maximum number of entries.")
@click.pass_obj
def audit(session: Session, limit: int) -> None:
    """List what operators did, newest first (operators only)."""
    for entry in session.api.audit_log(limit=limit):
        if session.as_json:
            session.json(entry)
            continue
        operator = entry["operator"] or "ADMIN_TOKEN"
        click.echo(f"{entry['at']}  {entry['action']:<10}  {entry['changed']:>5} jobs  {operator}")


@click.command("dead-letters")
@click.option("--limit", default=20, show_default=True, help="Maximum number of jobs.")
@click.pass_obj
def dead_letters(session: Session, limit: int) -> None:
    """List dead letters, newest first (operators only).

    These are failed jobs that could succeed if retried.
    """
    for letter in session.api.dead_letters(limit=limit):
        if session.as_json:
            session.json(letter)
        else:
            click.echo(dead_letter_line(letter))


@click.command()
@job_argument
@click.pass_obj
def requeue(session: Session, job_id: str) -> None:
    """Run a dead letter again (operators only)."""
    session.result(session.api.requeue(job_id))


@click.command()
@click.pass_obj
def pause(session: Session) -> None:
    """Stop starting jobs; running jobs continue (operators only)."""
    session.api.pause()
    _print_paused(session, paused=True)


@click.command()
@click.pass_obj
def resume(session: Session) -> None:
    """Start jobs again (operators only)."""
    session.api.resume()
    _print_paused(session, paused=False)


def _print_paused(session: Session, *, paused: bool) -> None:
    if session.as_json:
        session.json({"paused": paused})
    else:
        click.echo("The queue is paused." if paused else "The queue is running.")


COMMANDS = (inspect, act, audit, dead_letters, requeue, pause, resume)
